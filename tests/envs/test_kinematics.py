"""Forward and inverse kinematics."""

import numpy as np
import pytest

from envs.kinematics import HOME, JOINTS, Kinematics
from envs.workspace import Workspace


@pytest.fixture(scope="module")
def kinematics():
    return Kinematics()


def test_the_tcp_matches_the_measured_figures(kinematics):
    np.testing.assert_allclose(
        kinematics.forward(np.zeros(6)), [0.39136, -0.00098, 0.24635], atol=1e-5
    )
    np.testing.assert_allclose(kinematics.forward(HOME), [0.216, -0.001, 0.053], atol=5e-4)


def test_positive_pan_is_clockwise_from_above(kinematics):
    turned = HOME.copy()
    turned[0] = 0.5
    assert kinematics.forward(turned)[1] < -0.05


def test_the_gripper_does_not_move_the_tcp(kinematics):
    closed = HOME.copy()
    closed[-1] = -0.1
    np.testing.assert_allclose(kinematics.forward(closed), kinematics.forward(HOME), atol=1e-12)


def test_inverse_is_within_a_tenth_of_a_millimetre_where_the_gripper_can_look_down(kinematics):
    box = Workspace()
    rng = np.random.default_rng(0)
    low, high = kinematics.joint_limits
    for wanted in rng.uniform(box.low, [*box.high[:2], 0.08], (150, 3)):
        if np.linalg.norm(wanted[:2] - [0.0388, 0.0]) < 0.13:
            continue  # the wrist's limit: too near for this height
        solution = kinematics.inverse(wanted, gripper=0.4)
        assert np.linalg.norm(kinematics.forward(solution) - wanted) <= 1e-4
        assert (solution >= low).all()
        assert (solution <= high).all()
        assert solution[JOINTS.index("gripper")] == 0.4


def test_inverse_looks_straight_down_where_it_can(kinematics):
    lift, elbow, wrist = kinematics.inverse([0.22, 0.05, 0.03])[1:4]
    assert lift + elbow + wrist == pytest.approx(np.pi / 2, abs=0.03)


def test_inverse_tilts_above_the_wrists_limit_rather_than_missing_the_point(kinematics):
    wanted = np.array([0.25, 0.0, 0.12])
    solution = kinematics.inverse(wanted)
    assert np.linalg.norm(kinematics.forward(solution) - wanted) <= 1e-4
    assert sum(solution[1:4]) < np.pi / 2 - 0.1


def test_inverse_is_a_function_of_the_point_alone(kinematics):
    first = kinematics.inverse([0.2, 0.1, 0.05])
    kinematics.inverse([0.3, -0.15, 0.15])
    assert kinematics.inverse([0.2, 0.1, 0.05]).tolist() == first.tolist()


def test_inverse_out_of_reach_stays_within_the_joint_limits(kinematics):
    low, high = kinematics.joint_limits
    solution = kinematics.inverse([0.45, 0.35, 0.3])
    assert (solution >= low).all()
    assert (solution <= high).all()


@pytest.mark.parametrize("bad", [[0.2, 0.0], [0.2, 0.0, float("nan")]])
def test_a_point_must_be_three_finite_numbers(kinematics, bad):
    with pytest.raises(ValueError, match="tcp must be 3 finite numbers"):
        kinematics.inverse(bad)
    with pytest.raises(ValueError, match="joint_positions must be 6 finite numbers"):
        kinematics.forward(bad)


def test_neighbouring_points_have_neighbouring_solutions(kinematics):
    rng = np.random.default_rng(0)
    box = Workspace()
    point, last = np.array([0.15, 0.0, 0.1]), None
    for _ in range(300):
        solution = kinematics.inverse(point)
        if last is not None:
            assert np.abs(solution - last).max() < 1.0
        last = solution
        point = np.clip(point + rng.uniform(-0.02, 0.02, 3), box.low, [0.2, 0.15, 0.15])
