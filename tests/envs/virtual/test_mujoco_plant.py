"""MuJoCo arm behind virtual servos: drives, gravity, currents and a hand."""

import mujoco
import numpy as np
import pytest

from envs.kinematics import HOME
from envs.sim.scene import Scene
from envs.virtual.mujoco_plant import LEADER_GEARS, REST, STALL_TORQUE, MujocoPlant
from envs.virtual.plant import FULL_SPEED, Drive
from envs.workspace import Workspace

LIFT, ELBOW, ROLL, GRIPPER = 1, 2, 4, 5
STRETCHED = (0, 0.5, 0, 0, 0, 0)  # forward, above the table


def arm(positions=HOME, **options) -> MujocoPlant:
    return MujocoPlant(Scene(0, 0.1, Workspace()), positions, **options)


def drives(targets, torque: float = 1.0, speed: float = FULL_SPEED) -> dict[int, Drive]:
    return {joint: Drive(target, torque, speed) for joint, target in enumerate(targets)}


def positions(plant: MujocoPlant) -> np.ndarray:
    return np.array([plant.state(joint).position for joint in range(6)])


def run(plant: MujocoPlant, seconds: float, orders, dt: float = 0.01) -> list[np.ndarray]:
    path = []
    for _ in range(round(seconds / dt)):
        plant.step(dt, orders)
        path.append(positions(plant))
    return path


def test_servos_carry_the_arm_to_their_targets_without_much_overshoot() -> None:
    plant = arm()
    target = HOME + np.array([0.5, -0.4, 0.4, -0.5, 1.0, 0.5])
    path = run(plant, 1.5, drives(target))
    np.testing.assert_allclose(path[-1], target, atol=0.004)
    overshoot = (np.array(path) - target) * np.sign(target - HOME)
    assert overshoot.max() < 0.03


def test_a_servo_keeps_its_speed_limit() -> None:
    plant = arm()
    target = HOME + np.array([0, 0, 0, 0, 1.0, 0])
    path = np.array(run(plant, 1.0, drives(target, speed=0.5)))
    assert path[-1, ROLL] == pytest.approx(0.5, abs=0.03)
    assert np.diff(path[20:, ROLL]).max() < 0.5 * 0.01 * 1.15


def test_without_torque_gravity_moves_the_arm_until_it_rests() -> None:
    plant = arm()
    path = run(plant, 3.0, drives(HOME, torque=0.0))
    fallen = path[-1] - HOME
    assert abs(fallen[LIFT]) + abs(fallen[ELBOW]) > 0.3
    np.testing.assert_allclose(path[-1], path[-20], atol=0.01)
    assert all(plant.state(joint).effort == 0 for joint in range(6))


def test_a_servo_without_torque_has_no_effect() -> None:
    scene = Scene(0, 0.1, Workspace())
    scene.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ACTUATION
    without = run(MujocoPlant(scene, HOME), 0.5, drives(HOME))[-1]
    np.testing.assert_array_equal(run(arm(), 0.5, drives(HOME, torque=0.0))[-1], without)


def test_joints_that_no_servo_drives_are_free() -> None:
    one, other = arm(), arm()
    np.testing.assert_array_equal(
        run(one, 0.5, {})[-1], run(other, 0.5, drives(HOME, torque=0.0))[-1]
    )


def test_at_rest_the_arm_stays_without_torque() -> None:
    np.testing.assert_allclose(run(arm(REST), 3.0, {})[-1], REST, atol=0.02)


def test_effort_holds_the_weight_and_is_bounded_by_the_torque_limit() -> None:
    plant = arm(STRETCHED)
    run(plant, 1.0, drives(STRETCHED))
    assert 0.1 < abs(plant.state(LIFT).effort) < 0.5
    weak = arm(STRETCHED)
    run(weak, 0.3, drives(STRETCHED, torque=0.1))
    assert abs(weak.state(LIFT).effort) == pytest.approx(0.1)
    assert weak.state(LIFT).position > 0.55, "it is too weak, and sinks"


def test_a_hand_holds_a_joint_against_its_servo_which_shows_in_the_effort() -> None:
    plant = arm()
    plant.hold(ROLL, 0.8, speed=2.0)
    path = np.array(run(plant, 1.0, drives(HOME)))
    assert path[-1, ROLL] == pytest.approx(0.8, abs=0.01)
    assert np.diff(path[:, ROLL]).max() < 2.0 * 0.01 * 1.2
    assert plant.state(ROLL).effort == pytest.approx(-1.0)
    plant.release(ROLL)
    back = np.array(run(plant, 1.0, drives(HOME)))
    assert back[-1, ROLL] == pytest.approx(0.0, abs=0.004)
    assert np.abs(np.diff(back[:, ROLL])).max() < FULL_SPEED * 0.01 * 1.2, "it is not thrown"


def test_a_push_moves_a_limp_joint_and_ends_with_release() -> None:
    plant = arm(HOME)
    plant.push(ROLL, 0.3)
    path = run(plant, 0.5, {})
    assert path[-1][ROLL] > 0.1
    plant.release(ROLL)
    later = run(plant, 0.5, {})
    assert later[-1][ROLL] - later[-20][ROLL] == pytest.approx(0.0, abs=0.02)


def test_a_hand_can_hold_a_joint_again() -> None:
    plant = arm()
    for angle in (0.3, -0.3):
        plant.hold(ROLL, angle)
        assert run(plant, 1.0, {})[-1][ROLL] == pytest.approx(angle, abs=0.01)
        plant.release(ROLL)
    assert run(plant, 0.5, drives(HOME))[-1][ROLL] == pytest.approx(0.0, abs=0.01)


def test_torque_holds_a_fallen_joint_where_it_is() -> None:
    plant = arm()
    fallen = run(plant, 3.0, {})[-1]
    held = np.array(run(plant, 0.5, drives(fallen)))
    assert np.abs(held - fallen).max() < 0.02


def test_the_leaders_low_gears_are_weaker_and_easier_to_move() -> None:
    moved = {}
    for name, options in (("follower", {}), ("leader", {"gears": LEADER_GEARS})):
        plant = arm(HOME, **options)
        plant.push(ROLL, 0.1)
        moved[name] = run(plant, 0.5, {})[-1][ROLL]
    assert moved["leader"] > 2 * moved["follower"]
    nudged = arm(HOME, gears=LEADER_GEARS)
    nudged.push(ROLL, 0.04)
    assert run(nudged, 0.5, {})[-1][ROLL] > 0.03, "less than the follower's friction"
    leader = arm(HOME, gears=LEADER_GEARS)
    leader.push(ROLL, 0.6 * STALL_TORQUE)
    assert run(leader, 0.5, drives(HOME))[-1][ROLL] > 0.2, "147/345 of the torque is less"


def test_the_same_calls_lead_to_the_same_motion() -> None:
    def motion() -> list[np.ndarray]:
        plant = arm()
        path = []
        for step in range(60):
            if step == 20:
                plant.hold(LIFT, -0.2)
            if step == 40:
                plant.release(LIFT)
            plant.step(0.002 + 0.0011 * (step % 7), drives(HOME + 0.01 * step))
            path.append(positions(plant))
        return path

    np.testing.assert_array_equal(motion(), motion())


def test_step_advances_exactly_the_given_time() -> None:
    scene = Scene(0, 0.1, Workspace())
    plant = MujocoPlant(scene, HOME)
    for dt in (0.0123, 0.002, 0.0031):
        plant.step(dt, drives(HOME))
    assert scene.data.time == pytest.approx(0.0174)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: arm([0.0] * 5), "positions must be 6"),
        (lambda: arm([9.0, 0, 0, 0, 0, 0]), "positions must be 6"),
        (lambda: arm(gears=(345,) * 5), "gears must be 6"),
        (lambda: arm().hold(GRIPPER, 3.0), "gripper can be held from -0.17 to 1.75"),
        (lambda: arm().hold(GRIPPER, 0.5, speed=0.0), "positive speed"),
    ],
)
def test_invalid_arguments_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
