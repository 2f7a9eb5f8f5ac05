"""Simulated scene: physics and queries."""

import math

import mujoco
import numpy as np
import pytest

from envs.kinematics import HOME, Kinematics
from envs.sim.arm import TORQUE_PER_AMPERE, SimulatedArm
from envs.sim.scene import CUBE_HALF, Scene
from envs.workspace import Workspace

PERIOD = 0.1


def scene_and_arm(num_cubes=1, period=PERIOD):
    scene = Scene(num_cubes, period, Workspace())
    arm = SimulatedArm(scene)
    arm.reset(HOME)
    return scene, arm


def grip(scene, arm, x=0.22, y=0.0):
    """Close the jaws on cube 0."""
    scene.place_cube(0, x, y, 0.0)
    inverse = Kinematics().inverse
    arm.reset(inverse([x, y, CUBE_HALF], 0.4))
    for _ in range(8):
        arm.command(inverse([x, y, CUBE_HALF], -0.1))
    return inverse


@pytest.mark.parametrize("hz", [8, 10, 30, 50])
def test_a_control_period_is_simulated_exactly(hz):
    scene, arm = scene_and_arm(period=1 / hz)
    arm.command(HOME)
    assert scene.data.time == pytest.approx(1 / hz)
    assert scene.model.opt.timestep <= 0.005


@pytest.mark.parametrize(
    ("opening", "gap"), [(0.0, 17), (0.3, 40), (0.6, 63), (1.0, 91), (1.745, 132)]
)
def test_the_jaws_open_as_measured(opening, gap):
    scene, arm = scene_and_arm()
    arm.reset([*HOME[:5], opening])
    tips = [scene.data.geom(f"{jaw}_jaw_tip").xpos for jaw in ("fixed", "moving")]
    assert np.linalg.norm(tips[0] - tips[1]) * 1000 == pytest.approx(gap, abs=2)


def test_the_arm_follows_a_five_degree_step_with_little_overshoot(monkeypatch):
    scene, arm = scene_and_arm()
    goal = HOME + np.radians([5, 0, 0, 0, 0, 0])
    seen = []
    step = mujoco.mj_step

    def watched_step(model, data):
        step(model, data)
        seen.append(data.qpos[0])

    monkeypatch.setattr(mujoco, "mj_step", watched_step)
    arm.command(goal)
    arm.command(goal)
    assert len(seen) == 2 * scene.substeps
    assert max(seen) <= goal[0] + np.radians(0.5)
    assert seen[-1] == pytest.approx(goal[0], abs=np.radians(0.1))


def test_frames_belong_to_the_positions_read_with_them():
    scene, arm = scene_and_arm()
    arm.command(HOME + 0.1)
    np.testing.assert_allclose(scene.tcp(), Kinematics().forward(arm.read().positions), atol=1e-9)


def test_currents_are_torques_over_the_torque_constant():
    scene, arm = scene_and_arm()
    arm.command(HOME)
    currents = arm.read().currents
    np.testing.assert_allclose(currents * TORQUE_PER_AMPERE, scene.data.actuator_force)
    assert abs(currents[2]) > 0.1  # the elbow bears the forearm


def test_a_reading_does_not_share_memory_with_the_simulation():
    _, arm = scene_and_arm()
    before = arm.read()
    kept = before.positions.copy()
    arm.command(HOME + 0.1)
    assert before.positions.tolist() == kept.tolist()


def test_the_distance_to_a_cube_is_to_its_surface():
    scene, arm = scene_and_arm()
    tcp = scene.tcp()
    scene.place_cube(0, tcp[0], tcp[1], math.pi / 4)
    arm.reset(HOME)
    assert scene.distance_to_cube(0) == pytest.approx(tcp[2] - 2 * CUBE_HALF, abs=1e-6)


def test_a_cube_between_closed_jaws_is_grasped_and_lifts():
    scene, arm = scene_and_arm()
    inverse = grip(scene, arm)
    assert scene.grasped(0)
    assert set(scene.jaw_forces(0)) == {0, 1}
    for height in (0.03, 0.05, 0.07):
        arm.command(inverse([0.22, 0.0, height], -0.1))
    assert scene.grasped(0)
    assert scene.cube_position(0)[2] > 0.055


def test_jaws_push_a_grasped_cube_from_opposite_sides():
    scene, arm = scene_and_arm()
    grip(scene, arm)
    forces = scene.jaw_forces(0)
    assert forces[0][0] > 0.5  # the fixed jaw is on the side of the base
    assert forces[1][0] < -0.5


@pytest.mark.parametrize(
    ("fixed", "moving", "grasped"),
    [
        ([0.6, 0, 0], [-0.6, 0, 0], True),
        ([0.6, 0, 0], [-0.4, 0, 0], False),
        ([0.6, 0, 0], [0, 0.6, 0], False),
        ([0.6, 0, 0], [-0.2, 0.57, 0], True),
        ([0.6, 0, 0], [-0.1, 0.6, 0], False),
        ([0.6, 0, 0], None, False),
    ],
)
def test_a_grasp_is_half_a_newton_from_opposite_sides(monkeypatch, fixed, moving, grasped):
    scene, _ = scene_and_arm()
    forces = {0: np.array(fixed)} | ({} if moving is None else {1: np.array(moving)})
    monkeypatch.setattr(scene, "jaw_forces", lambda index: forces)
    assert scene.grasped(0) == grasped


def test_an_untouched_cube_rests_and_is_not_grasped():
    scene, arm = scene_and_arm()
    scene.place_cube(0, 0.2, 0.1, 0.3)
    for _ in range(5):
        arm.command(HOME)
    assert not scene.touched(0)
    assert not scene.grasped(0)
    assert scene.cube_motion(0).linear < 1e-3
    np.testing.assert_allclose(scene.cube_position(0), [0.2, 0.1, CUBE_HALF], atol=1e-3)


def test_the_rim_keeps_a_pushed_cube_within_the_workspace():
    scene, arm = scene_and_arm()
    scene.place_cube(0, 0.22, 0.12, 0.0)
    arm.reset(HOME)
    address = scene.model.joint("cube_0").dofadr[0]
    scene.data.qvel[address + 1] = 2.0  # m/s outward
    for _ in range(10):
        arm.command(HOME)
    assert scene.cube_position(0)[1] < Workspace().high[1] + 0.003


def test_a_scene_can_hold_a_marker_that_nothing_collides_with():
    scene = Scene(1, PERIOD, Workspace(), marker=True)
    scene.place_marker(0.2, 0.05)
    scene.place_cube(0, 0.2, 0.05, 0.0)
    arm = SimulatedArm(scene)
    arm.reset(HOME)
    for _ in range(5):
        arm.command(HOME)
    assert scene.cube_position(0)[2] == pytest.approx(CUBE_HALF, abs=5e-4)
