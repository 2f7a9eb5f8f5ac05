"""Task on a real table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.kinematics import HOME, JOINTS, Kinematics
from envs.tasks.real_table import LARGEST_NOISE, RealTable

LOW, HIGH = Kinematics().joint_limits


def starts(task, seed, count=200):
    rng = np.random.default_rng(seed)
    return np.array([task.start(rng) for _ in range(count)])


def with_joint(name, angle):
    pose = HOME.copy()
    pose[JOINTS.index(name)] = angle
    return pose


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6),
    st.floats(0.0, LARGEST_NOISE),
    st.integers(0, 2**32 - 1),
)
def test_a_start_is_near_the_pose_and_within_the_joint_limits(shares, noise, seed):
    pose = LOW + (HIGH - LOW) * shares
    pose = np.clip(pose, LOW, HIGH)
    drawn = starts(RealTable(pose.tolist(), noise), seed, 20)
    assert drawn.shape == (20, 6)
    assert np.abs(drawn - pose).max() <= noise + 1e-12
    assert (drawn >= LOW).all() and (drawn <= HIGH).all()


def test_every_joint_is_drawn_over_all_of_the_noise_on_its_own():
    drawn = starts(RealTable(noise=0.1), 0, 500) - HOME
    assert (drawn.min(axis=0) < -0.09).all() and (drawn.max(axis=0) > 0.09).all()
    assert np.abs(np.corrcoef(drawn.T) - np.eye(6)).max() < 0.2


def test_at_a_joint_limit_the_start_is_clipped():
    drawn = starts(RealTable(HIGH.tolist(), 0.2), 0)
    assert (drawn <= HIGH).all()
    assert (drawn.max(axis=0) == HIGH).all()


def test_the_seed_decides_the_starts():
    task = RealTable()
    assert (starts(task, 3) == starts(RealTable(), 3)).all()
    assert (starts(task, 3) != starts(task, 4)).any()


def test_without_noise_and_pose_it_starts_at_home():
    assert (starts(RealTable(noise=0.0), 0) == HOME).all()


def test_the_pose_is_copied():
    pose = HOME.copy()
    task = RealTable(pose, 0.0)
    pose[:] = 0.0
    task.start(np.random.default_rng(0))[:] = 7.0
    assert (starts(task, 0) == HOME).all()


@pytest.mark.parametrize("name", JOINTS)
@pytest.mark.parametrize("side", [-1, 1])
def test_an_angle_that_the_arm_cannot_take_is_refused_by_its_joint(name, side):
    limit = (LOW if side < 0 else HIGH)[JOINTS.index(name)]
    RealTable(with_joint(name, limit))
    with pytest.raises(ValueError, match=rf"^start\.{name} must be a number from .* to "):
        RealTable(with_joint(name, limit + side * 0.01))


@pytest.mark.parametrize(
    "pose",
    [
        HOME[:5],
        [*HOME, 0.0],
        [HOME],
        "home",
        None,
        0.5,
        [[0.0], 1.0],
        with_joint("gripper", np.nan),
    ],
)
def test_a_pose_that_is_not_six_angles_is_refused(pose):
    with pytest.raises(ValueError, match=r"^start must be 6 angles in rad \(shoulder_pan, .*got "):
        RealTable(pose)


@pytest.mark.parametrize("noise", [-0.01, LARGEST_NOISE + 0.01, np.nan, "much", None])
def test_noise_out_of_its_range_is_refused(noise):
    with pytest.raises(ValueError, match=r"^start_noise must be a number from 0 to 0\.3"):
        RealTable(noise=noise)


def test_objects_and_success_are_unknown():
    task = RealTable()
    assert task.object_bounds() is None
    assert task.objects().shape == (0,)
    assert task.succeeded() is None
    assert task.start_name() == ""
    assert task.progress() == 0.0
