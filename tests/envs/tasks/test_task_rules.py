"""Rules of each task: starts and success."""

import math

import numpy as np
import pytest

from envs.sim.arm import SimulatedArm
from envs.sim.randomization import Randomization
from envs.sim.scene import CUBE_HALF, Scene
from envs.tasks import TASKS, PickCube, PickPlaceCube, PushCube, StackBlocks, TouchCube
from envs.tasks.grasping import yaw_features
from envs.workspace import Workspace

ON_TOP = np.array([0.0, 0.0, 2 * CUBE_HALF])


def laid_out(task_class, sizes=None, **options):
    box = Workspace()
    scene = Scene(task_class.num_cubes, 0.1, box, task_class.has_marker, sizes)
    task = task_class(scene, box, **options)
    SimulatedArm(scene).reset(task.start(np.random.default_rng(0)))
    return task, scene


def put(scene, index, position, yaw=0.0):
    """Put a cube anywhere, even in the air."""
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


@pytest.mark.parametrize(
    ("offset", "done"),
    [
        ([0.0, 0.024, 0.0], True),
        ([0.026, 0.0, 0.0], False),
        ([0.0, 0.0, 0.006], False),
    ],
)
def test_push_is_done_within_25_mm_of_the_target_on_the_table(offset, done):
    task, scene = laid_out(PushCube)
    put(scene, 0, task.target + offset)
    assert task.succeeded() == done


def test_there_is_room_for_the_gripper_behind_a_cube_to_push():
    task, scene = laid_out(PushCube)
    rng = np.random.default_rng(0)
    for _ in range(50):
        SimulatedArm(scene).reset(task.start(rng))
        assert task.subgoal().gripper < 0
        place = scene.cube_position(0)[:2]
        away = (place - task.target[:2]) / np.linalg.norm(place - task.target[:2])
        tips = task.subgoal().tcp[:2] - [0.0185, 0.0]
        np.testing.assert_allclose(tips, place + 0.03 * away, atol=1e-6)


def test_a_held_cube_is_let_go_before_it_is_pushed(monkeypatch):
    task, scene = laid_out(PushCube)
    monkeypatch.setattr(scene, "grasped", lambda index: True)
    assert task.subgoal().gripper > 0.3


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


def test_stack_uses_the_size_of_the_cubes():
    task, scene = laid_out(StackBlocks, sizes=Randomization(cube_size=1.0))
    rng = np.random.default_rng(0)
    heights = []
    for _ in range(20):
        task.start(rng)
        scene.refresh()
        upper, lower = scene.cube_half(0), scene.cube_half(1)
        heights.append(upper + lower)
        edge = math.sqrt(2) * lower + 0.005
        for offset, done in (
            ([0, 0, 0.0049], True),
            ([0, 0, -0.0051], False),
            ([0, edge - 1e-4, 0], True),
            ([0, edge + 1e-4, 0], False),
        ):
            on_top = np.array([0.0, 0.0, upper + lower])
            put(scene, 0, scene.cube_position(1) + on_top + offset)
            assert task.succeeded() == done
    assert np.ptp(heights) > 0.005


def test_lifting_and_placing_use_the_size_of_the_cube(monkeypatch):
    sizes = Randomization(cube_size=1.0)
    pick, picked = laid_out(PickCube, sizes)
    place, placed = laid_out(PickPlaceCube, sizes)
    monkeypatch.setattr(picked, "grasped", lambda index: True)
    for seed in range(10):
        pick.start(np.random.default_rng(seed))
        half = picked.cube_half(0)
        for lift, done in ((0.0501, True), (0.0499, False)):
            put(picked, 0, [0.2, 0.0, half + lift])
            assert pick.succeeded() == done
        place.start(np.random.default_rng(seed))
        assert place.target[2] == placed.cube_half(0)


def test_stack_needs_a_still_arm():
    task, scene = done_task(StackBlocks)
    scene.data.qvel[0] = 0.3
    assert not task.succeeded()


def done_task(task_class):
    """Return a task that is done, with its scene."""
    task, scene = laid_out(task_class)
    place = task.target if task_class is PickPlaceCube else scene.cube_position(1) + ON_TOP
    put(scene, 0, place)
    assert task.succeeded()
    assert task.progress() == 1.0
    return task, scene


@pytest.mark.parametrize("task_class", [PickPlaceCube, StackBlocks])
def test_a_cube_is_not_placed_while_a_jaw_touches_it(monkeypatch, task_class):
    task, scene = done_task(task_class)
    monkeypatch.setattr(scene, "touched", lambda index: True)
    assert not task.succeeded()
    assert task.progress() < 1.0


@pytest.mark.parametrize("task_class", [PickPlaceCube, StackBlocks])
@pytest.mark.parametrize(("dof", "speed"), [(6, 0.011), (11, 0.51)])
def test_a_cube_is_not_placed_while_it_moves(task_class, dof, speed):
    task, scene = done_task(task_class)
    scene.data.qvel[dof] = speed
    assert not task.succeeded()
    scene.data.qvel[dof] = 0.9 * speed
    assert task.succeeded()


@pytest.mark.parametrize("task_class", [PickCube, PickPlaceCube, StackBlocks])
def test_a_cube_deep_in_the_jaws_is_released(monkeypatch, task_class):
    task, scene = laid_out(task_class)
    monkeypatch.setattr(scene, "grasped", lambda index: True)
    monkeypatch.setattr(scene, "gripper_opening", lambda: 0.1)
    put(scene, 0, scene.tcp() + np.array([0.0, 0.0, 0.002]))
    assert task.subgoal().gripper < 0
    put(scene, 0, scene.tcp() + np.array([0.0, 0.0, 0.03]))
    assert task.subgoal().gripper > 0.3


def test_cubes_and_targets_start_apart():
    for task_class in (PickPlaceCube, PushCube, StackBlocks):
        task, scene = laid_out(task_class)
        rng = np.random.default_rng(1)
        for _ in range(50):
            task.start(rng)
            scene.refresh()
            other = scene.cube_position(1) if task_class is StackBlocks else task.target
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
