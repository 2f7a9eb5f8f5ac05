"""Goals of a mirroring leader."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from envs.hardware.leader.leader_settings import LeaderSettings
from envs.hardware.leader.mirroring import Mirroring
from envs.kinematics import HOME, Kinematics

KINEMATICS = Kinematics()
LOW, HIGH = KINEMATICS.joint_limits
PERIOD = 0.02
AT_ONCE = LeaderSettings(grace=0.0)
HIGH_UP = KINEMATICS.inverse([0.22, 0.05, 0.12], 0.5)


def at(*tcp, gripper=0.5):
    return KINEMATICS.inverse(tcp, gripper)


class Mirror:
    """Mirroring that is asked at the leader's rate, in simulated time."""

    def __init__(self, positions=HOME, how=AT_ONCE):
        self.now, self.goal = 100.0, np.array(positions, float)
        self.mirroring = Mirroring(how, self.goal, self.now)

    def next(self, follower, after=PERIOD):
        """Return the change of the goals, shape (6,) [rad]."""
        self.now += after
        before, self.goal = self.goal, self.mirroring.next(follower, self.now)
        return self.goal - before

    def settle(self, follower, seconds=8.0):
        for _ in range(round(seconds / PERIOD)):
            self.next(follower)

    @property
    def tcp(self):
        return KINEMATICS.forward(self.goal)


joints = st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6).map(
    lambda shares: LOW + (HIGH - LOW) * shares
)


def test_it_stands_still_for_the_grace_period_and_does_not_catch_up():
    mirror = Mirror(how=LeaderSettings(grace=0.5, approach_speed=0.4))
    for _ in range(24):
        assert not mirror.next(HIGH_UP).any()
    assert not mirror.mirroring.aligned
    mirror.next(HIGH_UP, after=0.025)
    assert 0 < np.abs(mirror.goal - HOME).max() <= 0.4 * 0.025 + 1e-9


def test_an_aligned_leader_has_a_grace_period_too():
    mirror = Mirror(HIGH_UP, LeaderSettings(grace=0.2))
    assert not mirror.next(HIGH_UP + 0.02).any()


@settings(max_examples=30, deadline=None)
@given(start=joints, followers=st.lists(joints, min_size=1, max_size=4), late=st.booleans())
def test_no_joint_exceeds_its_speed(start, followers, late):
    how = LeaderSettings(grace=0.0, approach_speed=0.3, speed=1.2)
    mirror = Mirror(start, how)
    period = 3 * PERIOD if late else PERIOD
    for follower in followers:
        for _ in range(20):
            gone = np.abs(mirror.next(follower, period)).max()
            speed = how.speed if mirror.mirroring.aligned else how.approach_speed
            assert gone <= speed * period + 1e-9


@pytest.mark.parametrize("joint", [0, 5], ids=["body", "gripper"])
def test_it_approaches_slowly_and_follows_quickly_once_aligned(joint):
    how = LeaderSettings(grace=0.0, approach_speed=0.3, speed=1.2)
    mirror, away = Mirror(HIGH_UP, how), np.zeros(6)
    away[joint] = 0.5
    speeds = []
    while not mirror.mirroring.aligned:
        speeds.append(np.abs(mirror.next(HIGH_UP + away)).max() / PERIOD)
    assert speeds[:-1] == pytest.approx([0.3] * (len(speeds) - 1))
    assert np.abs(mirror.goal - HIGH_UP - away).max() < 0.06
    mirror.settle(HIGH_UP + away, 1.0)
    speed = np.abs(mirror.next(HIGH_UP)).max() / PERIOD
    assert speed == pytest.approx(1.2), "a quick follower does not make it a newcomer"


def test_a_small_step_of_the_follower_is_smoothed():
    mirror = Mirror(HIGH_UP, LeaderSettings(grace=0.0, smoothing=0.1, speed=4.0))
    follower = HIGH_UP + 0.04
    for _ in range(5):
        mirror.next(follower)
    np.testing.assert_allclose(mirror.goal, HIGH_UP + 0.04 * (1 - np.exp(-1)), atol=1e-9)


def test_smoothing_does_not_depend_on_the_rate():
    often, seldom = (Mirror(HIGH_UP) for _ in range(2))
    for _ in range(6):
        often.next(HIGH_UP + 0.01, after=0.01)
    seldom.next(HIGH_UP + 0.01, after=0.06)
    np.testing.assert_allclose(often.goal, seldom.goal, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(
    start=joints,
    x=st.floats(0.16, 0.28),
    y=st.floats(-0.14, 0.14),
    z=st.floats(0.04, 0.15),
    gripper=st.floats(-0.1, 1.7),
)
def test_above_the_table_it_reaches_exactly_the_pose_of_the_follower(start, x, y, z, gripper):
    follower = at(x, y, z, gripper=gripper)
    mirror = Mirror(start, LeaderSettings(grace=0.0, approach_speed=1.0))
    mirror.settle(follower)
    assert mirror.mirroring.aligned
    np.testing.assert_allclose(mirror.goal, follower, atol=1e-6)


sags = st.lists(st.floats(-0.03, 0.03), min_size=5, max_size=5)


@settings(max_examples=40, deadline=None)
@example(0.25, 0.0, 0.0156, 0.5, [0.0, 0.03, 0.03, 0.03, 0.0], 0.03)
@example(0.284, -0.136, 0.022, 0.5, [-0.04, 0.04, 0.04, 0.04, 0.0], 0.03)
@given(
    x=st.floats(0.16, 0.29),
    y=st.floats(-0.14, 0.14),
    z=st.floats(0.008, 0.03),
    gripper=st.floats(0.0, 1.5),
    sag=sags,
    clearance=st.sampled_from([0.02, 0.03, 0.04]),
)
def test_near_the_table_it_stays_at_its_clearance_above_the_follower(
    x, y, z, gripper, sag, clearance
):
    """The follower is not quite where the kinematics would have it: its weight pulls it down."""
    follower = at(x, y, z, gripper=gripper) + np.array([*sag, 0.0])
    below = KINEMATICS.forward(follower)
    assume(0.0 <= below[2] <= clearance)
    mirror = Mirror(HIGH_UP, LeaderSettings(grace=0.0, approach_speed=1.0, clearance=clearance))
    mirror.settle(follower)
    assert mirror.tcp[2] == pytest.approx(clearance, abs=1e-3)
    assert np.abs(mirror.tcp - below)[:2].max() < 2e-3
    assert mirror.goal[-1] == pytest.approx(gripper, abs=1e-6), "a grip is shown as it is"


def test_a_follower_along_the_table_is_followed_at_the_clearance():
    mirror = Mirror(HIGH_UP)
    mirror.settle(at(0.2, -0.1, 0.01))
    for step in range(11):
        for _ in range(5):
            mirror.next(at(0.2 + 0.005 * step, -0.1 + 0.02 * step, 0.01))
            assert mirror.tcp[2] > 0.028
    mirror.settle(at(0.25, 0.1, 0.01), 1.0)
    np.testing.assert_allclose(mirror.tcp, [0.25, 0.1, 0.03], atol=2e-3)


def test_it_descends_to_its_clearance_and_rises_with_the_follower():
    mirror = Mirror(HIGH_UP)
    mirror.settle(HIGH_UP, 1.0)
    for height in np.linspace(0.12, 0.01, 12):
        for _ in range(5):
            mirror.next(at(0.22, 0.05, height))
            assert mirror.tcp[2] > 0.028
    mirror.settle(HIGH_UP)
    np.testing.assert_allclose(mirror.goal, HIGH_UP, atol=1e-6)


def test_goals_stay_within_the_joint_limits_near_the_table():
    follower = at(0.2, 0.0, 0.01, gripper=HIGH[-1])
    mirror = Mirror(HIGH_UP, LeaderSettings(grace=0.0, clearance=0.1))
    mirror.settle(follower)
    assert (mirror.goal >= LOW - 1e-9).all() and (mirror.goal <= HIGH + 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(start=joints, x=st.floats(0.16, 0.28), y=st.floats(-0.14, 0.14), z=st.floats(0.04, 0.15))
def test_the_body_joints_are_slowed_down_together(start, x, y, z):
    follower = at(x, y, z)
    left = (follower - start)[:5]
    change = Mirror(start).next(follower)[:5]
    if np.abs(left).max() > 1e-6:
        np.testing.assert_allclose(
            change / np.abs(change).max(), left / np.abs(left).max(), atol=1e-9
        )


def test_gripper_and_body_do_not_slow_each_other_down():
    both, body, gripper = (Mirror(HIGH_UP) for _ in range(3))
    move = np.array([0.003, 0.001, 0, 0, 0, 0.0])
    turn = np.array([0, 0, 0, 0, 0, 0.8])
    gone = both.next(HIGH_UP + move + turn)
    np.testing.assert_allclose(gone[:5], body.next(HIGH_UP + move)[:5], atol=1e-12)
    assert gone[5] == pytest.approx(gripper.next(HIGH_UP + turn)[5])
    far = Mirror(HIGH_UP).next(HIGH_UP + np.array([0.8, 0, 0, 0, 0, 0.003]))
    small = Mirror(HIGH_UP).next(HIGH_UP + np.array([0, 0, 0, 0, 0, 0.003]))
    assert far[5] == pytest.approx(small[5])


def test_goals_share_no_memory_with_callers():
    positions, follower = HOME.copy(), HIGH_UP.copy()
    mirroring = Mirroring(LeaderSettings(grace=0.1), positions, 0.0)
    positions[:] = 9.0
    mirroring.next(follower, 0.05)[:] = 9.0  # in the grace period
    mirroring.next(follower, 0.2)[:] = 9.0
    other = Mirroring(LeaderSettings(grace=0.1), HOME, 0.0)
    other.next(HIGH_UP, 0.05)
    other.next(HIGH_UP, 0.2)
    np.testing.assert_array_equal(mirroring.next(HIGH_UP, 0.3), other.next(HIGH_UP, 0.3))
