"""Properties that every task has, whatever its reward."""

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.kinematics import HOME
from envs.sim.arm import SimulatedArm
from envs.sim.scene import CUBE_HALF, Scene
from envs.tasks import TASKS, PickCube, PickPlaceCube, StackBlocks, TouchCube
from envs.tasks.grasping import yaw_features
from envs.workspace import Workspace

NAMES = {"TouchCube": 6, "PickCube": 11, "PickPlaceCube": 17, "StackBlocks": 22}
ON_TOP = np.array([0.0, 0.0, 2 * CUBE_HALF])
LIMITS = {"TouchCube": 100, "PickCube": 150, "PickPlaceCube": 200, "StackBlocks": 250}

every_task = pytest.mark.parametrize("name", NAMES)
every_reward = pytest.mark.parametrize("reward", ["sparse", "dense"])


def make(name, **options):
    return gymnasium.make(f"envs:SO101{name}-v0", **options)


def equal(first, second):
    return first.keys() == second.keys() and all((first[k] == second[k]).all() for k in first)


def roll(env, seed, steps=12):
    """Returns everything that an episode of random actions shows."""
    rng = np.random.default_rng(seed)
    seen = [env.reset(seed=seed)]
    for _ in range(steps):
        seen.append(env.step(rng.uniform(-1.2, 1.2, 4)))
        if seen[-1][2] or seen[-1][3]:
            break
    return seen


@every_task
@every_reward
def test_every_observation_and_info_keeps_the_contract(name, reward):
    env = make(name, reward=reward)
    assert env.observation_space["state"].shape == (21,)
    assert env.observation_space["objects"].shape == (NAMES[name],)
    for space in env.observation_space.values():
        assert np.isfinite(space.low).all()
        assert (space.low < space.high).all()
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (4,), np.float32)
    for seed in range(8):
        seen = roll(env, seed)
        for observation, *rest in seen:
            assert env.observation_space.contains(observation)
            info = rest[-1]
            assert info["is_intervention"] is False
            assert isinstance(info["succeed"], bool)
            assert info["teleop_action"].dtype == np.float32
            assert info["teleop_action"].tolist() == [0, 0, 0, 0]
        for _, reward_value, terminated, _, info in seen[1:]:
            assert isinstance(reward_value, float)
            assert terminated == info["succeed"]
            if reward == "sparse":
                assert reward_value == float(terminated)


@every_task
@every_reward
@pytest.mark.parametrize("operator", [None, {}])
def test_an_episode_is_the_same_under_its_seed_in_any_environment_at_any_time(
    name, reward, operator
):
    env = make(name, reward=reward, operator=operator)
    first = roll(env, 7, steps=40)
    after_first = env.reset()
    roll(env, 8)
    again = roll(env, 7, steps=40)
    after_again = env.reset()
    elsewhere = roll(make(name, reward=reward, operator=operator), 7, steps=40)
    for repeated in (again, elsewhere):
        assert len(first) == len(repeated)
        for (one, *rest_one), (other, *rest_other) in zip(first, repeated, strict=True):
            assert equal(one, other)
            assert rest_one[:-1] == rest_other[:-1]
            assert rest_one[-1]["is_intervention"] == rest_other[-1]["is_intervention"]
    assert equal(after_first[0], after_again[0])


@every_task
def test_a_watching_person_does_not_change_the_starts(name):
    alone, watched = make(name), make(name, operator={})
    for seed in (4, None, None):
        assert equal(alone.reset(seed=seed)[0], watched.reset(seed=seed)[0])
        watched.step(np.zeros(4))


@every_task
def test_starts_differ_and_none_is_solved(name):
    env = make(name)
    starts = []
    for seed in range(30):
        observation, info = env.reset(seed=seed)
        assert not info["succeed"]
        assert not env.unwrapped.task.succeeded()
        assert env.unwrapped.task.progress() < 1
        starts.append(np.concatenate([observation["state"][:6], observation["objects"]]))
    spread = np.ptp(starts, axis=0)
    assert (spread[:6] > 0.05).all()
    assert len(np.unique(starts, axis=0)) == 30


@every_task
def test_observations_share_no_memory(name):
    env = make(name)
    first, info = env.reset(seed=0)
    second, *_, later_info = env.step(np.zeros(4))
    third, *_ = env.step(np.ones(4))
    for key in first:
        for one, other in ((first, second), (second, third)):
            assert not np.shares_memory(one[key], other[key])
    assert not np.shares_memory(info["teleop_action"], later_info["teleop_action"])


@every_task
def test_the_time_limit_truncates(name):
    env = make(name)
    assert env.spec.max_episode_steps == LIMITS[name]
    env = make(name, max_episode_steps=3)
    env.reset(seed=0)
    ends = [env.step(np.zeros(4))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


@every_task
@pytest.mark.filterwarnings("error::UserWarning")
def test_gymnasiums_checker_is_content(name):
    # The checker looks at the bare environment; it has no render mode to check.
    check_env(make(name).unwrapped, skip_render_check=True)


@every_task
def test_the_dense_reward_sums_to_the_progress_made(name):
    env = make(name, reward="dense")
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    before = env.unwrapped.task.progress()
    total = 0.0
    for _ in range(10):
        _, reward, terminated, *_ = env.step(rng.uniform(-1, 1, 4))
        total += reward - terminated
        if terminated:
            break
    assert total == pytest.approx(env.unwrapped.task.progress() - before)


def laid_out(task_class, **options):
    box = Workspace()
    scene = Scene(task_class.num_cubes, 0.1, box, task_class.has_marker)
    task = task_class(scene, box, **options)
    SimulatedArm(scene).reset(task.start(np.random.default_rng(0)))
    return task, scene


def put(scene, index, position, yaw=0.0):
    """Puts a cube anywhere, in the air too."""
    scene.place_cube(index, position[0], position[1], yaw)
    address = scene.model.joint(f"cube_{index}").qposadr[0]
    scene.data.qpos[address + 2] = position[2]
    scene.refresh()


def test_touch_draws_both_fixed_positions_and_varies_them_a_little():
    task, scene = laid_out(TouchCube)
    rng = np.random.default_rng(0)
    places = []
    for _ in range(60):
        task.start(rng)
        scene.refresh()
        places.append(scene.cube_position(0)[:2])
    fixed = task.fixed_positions()
    nearest = [int(np.argmin(np.linalg.norm(fixed - place, axis=1))) for place in places]
    assert 15 < sum(nearest) < 45
    for place, index in zip(places, nearest, strict=True):
        assert np.abs(place - fixed[index]).max() <= 0.005 + 1e-9


def test_touch_can_place_the_cube_anywhere_in_the_workspace():
    task, scene = laid_out(TouchCube, cube_positions="workspace")
    rng = np.random.default_rng(0)
    places = []
    for _ in range(200):
        task.start(rng)
        scene.refresh()
        places.append(scene.cube_position(0)[:2])
    assert (np.min(places, axis=0) >= Workspace().low[:2] + 0.015).all()
    assert (np.max(places, axis=0) <= Workspace().high[:2] - 0.015).all()
    assert (np.ptp(places, axis=0) > [0.11, 0.24]).all()


def test_touch_is_done_within_five_millimetres_of_the_surface():
    task, scene = laid_out(TouchCube)
    tcp = scene.tcp()
    for gap, done in ((0.004, True), (0.006, False), (0.03, False)):
        put(scene, 0, [tcp[0], tcp[1], tcp[2] - CUBE_HALF - gap])
        # In the gap between the open jaws, so that only the distance counts.
        assert not scene.touched(0)
        assert task.succeeded() == done


def test_touch_is_done_when_a_jaw_touches():
    task, scene = laid_out(TouchCube)
    tip = scene.data.geom("moving_jaw_tip").xpos
    put(scene, 0, tip + np.array([CUBE_HALF, 0.0, 0.0]))
    assert scene.distance_to_cube(0) > 0.005
    assert task.succeeded()


def test_pick_needs_a_grasp_not_only_height():
    task, scene = laid_out(PickCube)
    put(scene, 0, [0.25, 0.0, 0.1])
    assert not task.succeeded()


@pytest.mark.parametrize(
    ("offset", "done"),
    [
        ([0.0, 0.024, 0.0], True),
        ([0.026, 0.0, 0.0], False),
        ([0.0, 0.0, 0.011], False),
    ],
)
def test_place_is_done_within_25_mm_of_the_target_on_the_table(offset, done):
    task, scene = laid_out(PickPlaceCube)
    put(scene, 0, task.target + offset)
    assert task.succeeded() == done


def test_place_needs_a_still_cube():
    task, scene = laid_out(PickPlaceCube)
    put(scene, 0, task.target)
    scene.data.qvel[6] = 0.02
    assert not task.succeeded()


@pytest.mark.parametrize(
    ("offset", "done"),
    [
        ([0.0, 0.022, 0.0], True),
        ([0.0, 0.023, 0.0], False),
        ([0.0, 0.0, 0.0049], True),
        ([0.0, 0.0, 0.006], False),
    ],
)
def test_stack_is_done_with_one_cube_on_the_other(offset, done):
    task, scene = laid_out(StackBlocks)
    put(scene, 0, scene.cube_position(1) + ON_TOP + offset)
    assert task.succeeded() == done


def test_stack_needs_a_still_arm():
    task, scene = laid_out(StackBlocks)
    put(scene, 0, scene.cube_position(1) + ON_TOP)
    scene.data.qvel[0] = 0.3
    assert not task.succeeded()


def test_things_start_apart():
    for task_class in (PickPlaceCube, StackBlocks):
        task, scene = laid_out(task_class)
        rng = np.random.default_rng(1)
        for _ in range(50):
            task.start(rng)
            scene.refresh()
            other = task.target if task_class is PickPlaceCube else scene.cube_position(1)
            assert np.linalg.norm((scene.cube_position(0) - other)[:2]) >= 0.04


def test_a_quarter_turn_does_not_change_the_yaw_features():
    def about_z(angle):
        c, s = math.cos(angle), math.sin(angle)
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    first = yaw_features(about_z(0.3))
    np.testing.assert_allclose(first, [math.sin(1.2), math.cos(1.2)])
    np.testing.assert_allclose(yaw_features(about_z(0.3 + math.pi / 2)), first, atol=1e-9)


@pytest.mark.parametrize("task_class", TASKS.values())
def test_a_workspace_above_the_cubes_is_refused(task_class):
    box = Workspace(z=(0.05, 0.15))
    with pytest.raises(ValueError, match=f"{task_class.__name__} needs a workspace.z"):
        task_class(Scene(2, 0.1, box, marker=True), box)


def test_a_workspace_out_of_the_cubes_reach_is_refused_at_reset():
    env = make("PickCube", workspace={"x": [0.38, 0.44]})
    with pytest.raises(RuntimeError, match="widen the workspace toward the arm"):
        env.reset(seed=0)


def test_a_task_that_starts_solved_is_reported(monkeypatch):
    env = make("TouchCube").unwrapped
    monkeypatch.setattr(env.task, "succeeded", lambda: True)
    with pytest.raises(RuntimeError, match="already solved"):
        env.reset(seed=0)


def test_the_arm_starts_near_home():
    env = make("TouchCube")
    for seed in range(5):
        joints = env.reset(seed=seed)[0]["state"][:6]
        assert np.abs(joints - HOME).max() <= 0.05 + 1e-6
