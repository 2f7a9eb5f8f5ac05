"""Remaining way of a task."""

import gymnasium
import numpy as np
import pytest

from envs.operators import Expert
from envs.tasks.remaining import turn, way

GOAL = np.array([0.2, 0.1, 0.012])


def test_a_low_way_goes_up_across_and_down():
    start = np.array([0.2, 0.0, 0.012])
    assert way(start, GOAL, clearance=0.062) == pytest.approx(0.05 + 0.1 + 0.05)


def test_rising_crossing_and_going_down_shorten_the_way_equally():
    corners = [[0.2, 0.0, 0.012], [0.2, 0.0, 0.062], [0.2, 0.1, 0.062], GOAL]
    left = [way(np.array(corner), GOAL, clearance=0.062) for corner in corners]
    np.testing.assert_allclose(-np.diff(left), [0.05, 0.1, 0.05], atol=1e-12)
    assert left[-1] == 0.0


def test_a_low_straight_approach_shortens_the_way():
    points = [GOAL + np.array([0.0, y, 0.0]) for y in np.linspace(-0.1, 0.0, 50)]
    assert (np.diff([way(point, GOAL, clearance=0.062) for point in points]) < 0).all()


def test_a_small_move_never_changes_the_way_much():
    rng = np.random.default_rng(0)
    for _ in range(500):
        point = GOAL + rng.uniform([-0.1, -0.1, 0.0], [0.1, 0.1, 0.1])
        moved = point + rng.uniform(-0.001, 0.001, 3)
        change = way(moved, GOAL, 0.062) - way(point, GOAL, 0.062)
        assert abs(change) <= 3 * np.linalg.norm(moved - point)


def test_a_goal_above_the_clearance_is_reached_from_below():
    assert way(GOAL, np.array([0.2, 0.1, 0.212]), clearance=0.062) == pytest.approx(0.2)


def test_a_turn_counts_as_the_way_of_the_arm_in_that_time():
    env = gymnasium.make("envs:SO101PickCube-v0").unwrapped
    assert turn(env.gripper_step) == pytest.approx(env.step_size)
    assert turn(-0.1) == 0.0


# A cube that was pushed past the tips needs another approach: two seconds, and 80 mm away from it.
@pytest.mark.parametrize(
    ("name", "window", "loss"),
    [
        ("TouchCube", 6, 0.03),
        ("PickCube", 6, 0.03),
        ("PickPlaceCube", 6, 0.03),
        ("PushCube", 20, 0.08),
        ("StackBlocks", 6, 0.03),
    ],
)
@pytest.mark.parametrize("jaws", [1.0, 0.25])
def test_the_remaining_way_shrinks_with_the_expert(name, window, loss, jaws):
    env = gymnasium.make(f"envs:SO101{name}-v0")
    for seed in range(6):
        env.reset(seed=seed)
        expert, task = Expert(env.unwrapped), env.unwrapped.task
        left, over = [task.remaining()], False
        while not over:
            over = env.step(expert.act() * [0.6, 0.6, 0.6, jaws])[2]
            left.append(task.remaining())
        least = np.minimum.accumulate(left)
        assert (np.array(left) - least).max() < loss
        # In any six tenths of a second, closing jaws and rising arms included.
        assert (least[:-window] - least[window:]).min(initial=1.0) > 0.005
        assert left[-1] < 0.02


@pytest.mark.parametrize("name", ["PickCube", "PickPlaceCube", "StackBlocks"])
def test_closing_on_air_lengthens_the_remaining_way(name):
    env = gymnasium.make(f"envs:SO101{name}-v0")
    env.reset(seed=0)
    task = env.unwrapped.task
    before = task.remaining()
    for _ in range(8):
        env.step(np.array([0.0, 0.0, 0.0, -1.0]))
    assert env.unwrapped.gripper_opening < 0.0
    assert task.remaining() > before + 0.02


def test_losing_the_cube_lengthens_the_remaining_way(monkeypatch):
    env = gymnasium.make("envs:SO101PickPlaceCube-v0")
    env.reset(seed=0)
    expert, task = Expert(env.unwrapped), env.unwrapped.task
    while task.scene.cube_position(0)[2] < 0.06:
        env.step(expert.act())
    held = task.remaining()
    # A contact that flickers is none: the jaws are still around the cube.
    with monkeypatch.context() as patch:
        patch.setattr(task.scene, "grasped", lambda index: False)
        assert task.remaining() < held + 0.02
    for _ in range(5):
        env.step(np.array([0.0, 0.0, 0.0, 1.0]))
    assert task.remaining() > held + 0.05
