"""Operator at the leader arm."""

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.kinematics import HOME, Kinematics
from envs.operators.intervention import InterventionWrapper
from envs.operators.keys import KeyEvent
from envs.operators.leader import LeaderOperator
from envs.operators.pressed import Pressed
from envs.so101 import SO101Env
from envs.workspace import Workspace, clamp
from tests.envs.operators.test_pressed import Feed
from tests.envs.test_so101 import OpenTask, PerfectArm

KINEMATICS = Kinematics()
LOW, HIGH = KINEMATICS.joint_limits
IDLE = np.zeros(4, np.float32)
LONGEST_LAG = 0.06
STEP = 0.02


class HeldLeader:
    """Leader arm without physics: it stays where a test puts it."""

    def __init__(self, positions=HOME):
        self.positions = np.array(positions, float)
        self.grabbed = False
        self.fault = ""
        self.mirrored = []
        self.limps = 0
        self.closed = False

    def mirror(self, follower):
        self.mirrored.append(np.array(follower))

    def limp(self):
        self.limps += 1
        self.grabbed = False

    def close(self):
        self.closed = True

    @property
    def tcp(self):
        return KINEMATICS.forward(self.positions)

    def move(self, *by):
        """Move the TCP as far as the arm can, and return the motion, shape (3,) [m]."""
        before = self.tcp
        self.positions = KINEMATICS.inverse(before + by, self.positions[-1])
        return self.tcp - before


class Led:
    """Follower led by a person, through the wrapper that executes their actions."""

    def __init__(self, follower=HOME, leader=HOME, gives_back=True, env=None, **options):
        self.leader, self.keys = HeldLeader(leader), Feed()
        self.env = env or SO101Env(PerfectArm(), None, OpenTask(), **options)
        self.operator = LeaderOperator(self.leader, Pressed(self.keys), gives_back)
        self.said = None  # the operator's own action, before anybody clips it
        self.operator.act = self._listen(self.operator.act)
        self.wrapped = InterventionWrapper(self.env, self.operator)
        self.wrapped.reset(seed=0, options={"joint_positions": follower})

    def _listen(self, act):
        def listening():
            self.said = act()
            return self.said

        return listening

    def step(self, policy=IDLE):
        """Take a step; return the person's action, None if the policy acted."""
        *_, info = self.wrapped.step(policy)
        return info["teleop_action"] if info["is_intervention"] else None

    def take_over(self):
        self.keys.press(KeyEvent.TAKE_OVER)
        return self.step()

    @property
    def command(self):
        return self.env.tcp_command


def at(*tcp, gripper=0.5):
    return KINEMATICS.inverse(tcp, gripper)


joints = st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6).map(
    lambda shares: LOW + (HIGH - LOW) * shares
)
actions = st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None)
@given(follower=joints, leader=joints, before=st.lists(actions, max_size=4), stuck=st.booleans())
def test_a_takeover_moves_nothing_while_the_leader_rests(follower, leader, before, stuck):
    """Whatever the poses of the arms and the lead of the command over the follower."""
    led = Led(follower, leader)
    led.env.arm.stuck = stuck
    for action in before:
        led.step(action)
    measured, gripper = led.env.tcp, led.env.gripper_command
    assert np.abs(led.take_over()).max() < 1e-6
    for _ in range(3):
        assert np.abs(led.step()).max() < 1e-6
    np.testing.assert_allclose(led.command, clamp(measured, led.env.workspace), atol=1e-7)
    assert abs(led.env.gripper_command - gripper) < 1e-6


def test_a_takeover_of_the_simulated_arm_in_motion_stops_it_where_it_is():
    env = gymnasium.make("envs:SO101TouchCube-v0").unwrapped
    led = Led(env=env, leader=at(0.2, -0.1, 0.1, gripper=0.1))
    for _ in range(3):
        led.step(np.array([0.0, 1.0, 0.5, 0.0]))
    assert np.linalg.norm(led.command - env.tcp) > 5e-4, "the command runs ahead"
    before = env.tcp
    assert np.abs(led.take_over()).max() < 1e-6
    for _ in range(10):
        assert np.abs(led.step()).max() < 1e-6
    np.testing.assert_allclose(led.command, before, atol=1e-6)
    assert np.linalg.norm(env.tcp - before) < 0.002, "but for what it sags"


def test_the_command_makes_the_motion_of_the_leaders_tcp():
    led = Led(at(0.2, 0.0, 0.06), at(0.25, -0.1, 0.12))
    led.take_over()
    start, gone = led.command, np.zeros(3)
    for by in ([0.01, 0, 0], [0, -0.015, 0], [0.004, 0.01, -0.012], [-0.015, 0, 0.018], [0, 0, 0]):
        gone += led.leader.move(*by)
        led.step()
        np.testing.assert_allclose(led.command - start, gone, atol=1e-6)
    assert np.linalg.norm(gone) > 0.005


def test_the_policys_actions_do_not_matter_while_the_person_leads():
    led = Led()
    led.take_over()
    before = led.command
    led.step(np.ones(4))
    np.testing.assert_allclose(led.command, before, atol=1e-7)


def test_a_quick_hand_is_followed_by_one_step_per_period():
    led = Led(at(0.2, 0.0, 0.06), at(0.2, -0.05, 0.06))
    led.take_over()
    start = led.command
    gone = led.leader.move(0, 0.05, 0)
    for expected in (0.02, 0.04, gone[1], gone[1]):
        led.step()
        assert led.command[1] - start[1] == pytest.approx(expected, abs=1e-6)


def test_a_lag_beyond_the_longest_is_dropped():
    led = Led(at(0.2, -0.1, 0.06), at(0.2, -0.1, 0.06))
    led.take_over()
    start = led.command
    assert led.leader.move(0, 0.2, 0)[1] > 0.19
    for _ in range(10):
        led.step()
    assert np.linalg.norm(led.command - start) == pytest.approx(LONGEST_LAG, abs=1e-4)
    turned = led.command
    back = led.leader.move(0, -0.01, 0)
    led.step()
    np.testing.assert_allclose(led.command - turned, back, atol=1e-6)


def test_a_hand_that_turns_round_is_followed_at_once():
    led = Led(at(0.2, -0.1, 0.06), at(0.2, -0.1, 0.06))
    led.take_over()
    led.leader.move(0, 0.2, 0)
    led.step()  # 2 of the 6 cm
    before = led.command
    led.leader.move(0, -0.05, 0)  # 1 cm less than the follower had done
    led.step()
    assert led.command[1] - before[1] == pytest.approx(-0.01, abs=1e-4)


@pytest.mark.parametrize("way", [[0, 1, 0], [0, -1, 0], [0, 0, -1], [-1, 0, 0]])
def test_a_hand_that_returns_from_beyond_the_wall_is_followed_at_once(way):
    box = Workspace((0.2, 0.25), (-0.03, 0.03), (0.06, 0.1))
    led = Led(at(0.22, 0.0, 0.08), at(0.24, 0.0, 0.08), workspace=box)
    led.take_over()
    along = np.abs(way).astype(bool)
    for _ in range(5):
        led.leader.move(*(0.014 * np.array(way)))
        led.step()
    side = led.env.workspace.high if max(way) > 0 else led.env.workspace.low
    np.testing.assert_allclose(led.command[along], side[along], atol=1e-6)
    before = led.command
    back = led.leader.move(*(-0.01 * np.array(way)))
    led.step()
    np.testing.assert_allclose((led.command - before)[along], back[along], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    follower=joints,
    path=st.lists(st.tuples(joints, st.booleans()), min_size=1, max_size=12),
    slack=st.floats(-0.2, 0.2),
)
def test_actions_are_finite_and_the_command_stays_in_the_box(follower, path, slack):
    led = Led(follower, path[0][0])
    led.take_over()
    for angles, reached in path:
        led.leader.positions = angles + slack  # a calibration may leave the model's limits
        led.leader.fault = "" if reached else "the cable is out"
        before = led.command
        led.step()
        action = led.said
        assert action.dtype == np.float32 and action.shape == (4,)
        assert np.isfinite(action).all() and np.abs(action).max() <= 1.0
        assert (np.abs(led.command - before) <= STEP + 1e-9).all()
        assert (led.command == clamp(led.command, led.env.workspace)).all()


def turn(led, to):
    """Turn the leader's gripper, and return the change of the follower's command [rad]."""
    before = led.env.gripper_command
    led.leader.positions[-1] = to
    led.step()
    return led.env.gripper_command - before


@pytest.mark.parametrize(("leaders", "followers"), [(0.2, 0.9), (1.2, 0.4)])
def test_the_grippers_converge_only_while_the_hand_turns(leaders, followers):
    led = Led(at(0.2, 0, 0.06, gripper=followers), at(0.2, 0, 0.06, gripper=leaders))
    led.take_over()
    for _ in range(5):
        assert turn(led, leaders) == pytest.approx(0.0, abs=1e-6)
    apart = abs(followers - leaders)
    for place in range(40):
        angle = leaders + 0.08 * (1 - abs((place + 1) % 4 - 2) / 2) + 0.04
        turned = angle - led.leader.positions[-1]
        gone = turn(led, angle)
        assert 0.5 - 1e-6 <= gone / turned <= 1.5 + 1e-6, "as the hand turns, neither still nor far"
        now = abs(led.env.gripper_command - angle)
        assert now <= apart + 1e-6
        apart = now
    assert apart == pytest.approx(0.0, abs=1e-6)
    turn(led, leaders)
    assert led.env.gripper_command == pytest.approx(leaders, abs=1e-6)


def test_converged_grippers_stay_converged():
    led = Led(at(0.2, 0, 0.06, gripper=0.6), at(0.2, 0, 0.06, gripper=0.6))
    led.take_over()
    for angle in (0.7, 0.6, 0.46, 0.6):
        turn(led, angle)
        assert led.env.gripper_command == pytest.approx(angle, abs=1e-6)


def test_a_gripper_turned_quickly_is_followed_by_one_step_per_period():
    led = Led(at(0.2, 0, 0.06, gripper=0.3), at(0.2, 0, 0.06, gripper=0.3))
    led.take_over()
    goes = [turn(led, 0.7) for _ in range(5)]
    assert goes == pytest.approx([0.15, 0.15, 0.1, 0, 0], abs=1e-6), "0.15: the lead it may have"


def test_the_key_gives_the_arm_to_the_person_and_back_to_the_policy():
    led = Led()
    policy = np.array([0, 0.5, 0, 0], np.float32)
    assert led.step(policy) is None
    led.keys.press(KeyEvent.TAKE_OVER)
    assert led.step(policy) is not None
    assert led.operator.leading
    assert led.step(policy) is not None
    led.keys.press(KeyEvent.GIVE_BACK)
    before = led.command
    assert led.step(policy) is None
    assert not led.operator.leading
    np.testing.assert_allclose(led.command - before, [0, 0.01, 0], atol=1e-4)
    assert led.step(policy) is None


def test_a_grab_leads_until_the_key_to_give_back():
    led = Led()
    led.leader.grabbed = True
    assert led.step() is not None
    for _ in range(3):
        assert led.step() is not None
    led.keys.press(KeyEvent.GIVE_BACK)
    assert led.step() is None


def test_the_key_to_give_back_does_nothing_without_a_policy():
    led = Led(gives_back=False)
    led.take_over()
    led.keys.press(KeyEvent.GIVE_BACK)
    limps = led.leader.limps
    for _ in range(2):
        assert led.step() is not None
    assert led.leader.limps == limps
    led.keys.press(KeyEvent.TAKE_OVER)
    led.step()
    assert led.keys.waiting == [], "nor does it stay in the others' way"


def test_the_key_to_take_over_changes_nothing_once_the_person_leads():
    led = Led(at(0.2, -0.05, 0.06), at(0.2, -0.05, 0.06))
    led.take_over()
    start, limps = led.command, led.leader.limps
    gone = led.leader.move(0, 0.05, 0)
    led.step()
    led.keys.press(KeyEvent.TAKE_OVER)
    for _ in range(3):
        led.step()
    np.testing.assert_allclose(led.command - start, gone, atol=1e-6)
    assert led.leader.limps == limps


def test_each_takeover_starts_without_an_offset():
    led = Led(at(0.2, 0.0, 0.06), at(0.2, 0.0, 0.06))
    led.take_over()
    led.leader.move(0, 0.05, 0)
    led.step()
    led.keys.press(KeyEvent.GIVE_BACK)
    led.step()
    led.leader.move(0, -0.1, 0)
    led.leader.positions[-1] = 0.2
    before = led.command
    for action in (led.take_over(), led.step()):
        assert np.abs(action).max() < 1e-6
    np.testing.assert_allclose(led.command, before, atol=1e-4)


def test_the_leader_mirrors_while_the_policy_acts_and_is_limp_while_led():
    led = Led(at(0.2, 0.0, 0.06))
    led.leader.mirrored.clear()
    for _ in range(3):
        seen = led.env.joint_positions
        led.step(np.array([0, 1, 0, 0]))
        np.testing.assert_array_equal(led.leader.mirrored[-1], seen)
    assert len(led.leader.mirrored) == 3
    limps = led.leader.limps
    led.take_over()
    led.step()
    assert (len(led.leader.mirrored), led.leader.limps) == (3, limps + 1)
    led.keys.press(KeyEvent.GIVE_BACK)
    led.step()
    assert len(led.leader.mirrored) == 4


def test_with_an_unreachable_leader_the_arm_stands_still_and_stays_led():
    led = Led()
    led.take_over()
    before, gripper = led.command, led.env.gripper_command
    led.leader.fault = "port /dev/ttyACM1 has gone away"
    assert led.operator.fault == led.leader.fault
    led.leader.positions = at(0.2, 0.1, 0.1, gripper=0.1)
    for _ in range(3):
        assert led.step(np.ones(4)).tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(led.command, before, atol=1e-9)
    assert led.env.gripper_command == gripper
    assert led.operator.leading


@pytest.mark.parametrize("at_takeover", [False, True])
def test_a_leader_that_comes_back_leads_from_where_it_is(at_takeover):
    led = Led(at(0.2, 0.0, 0.06), at(0.2, 0.0, 0.06))
    if not at_takeover:
        led.take_over()
        led.leader.move(0, 0.05, 0)
        led.step()
    led.leader.fault = "port /dev/ttyACM1 has gone away"
    led.take_over() if at_takeover else led.step()
    before, gripper = led.command, led.env.gripper_command
    led.leader.positions = at(0.25, 0.1, 0.02, gripper=0.0)  # it sank: nobody held it
    led.leader.fault = ""
    for _ in range(3):
        assert np.abs(led.step()).max() < 1e-6
    gone = led.leader.move(-0.01, -0.01, 0)
    led.step()
    np.testing.assert_allclose(led.command - before, gone, atol=1e-6)
    assert led.env.gripper_command == pytest.approx(gripper, abs=1e-6)


def test_a_leader_that_is_back_at_the_first_step_leads_from_where_it_is():
    led = Led(at(0.2, 0.0, 0.06), at(0.2, 0.0, 0.06))
    led.leader.fault = "port /dev/ttyACM1 has gone away"
    led.operator.take_over()
    led.leader.positions, led.leader.fault = at(0.25, 0.1, 0.02, gripper=0.0), ""
    for _ in range(3):
        assert np.abs(led.step()).max() < 1e-6


def test_no_episode_begins_with_the_person_leading():
    led = Led()
    led.take_over()
    led.wrapped.reset()
    assert not led.operator.leading
    assert led.step() is None
    led.leader.grabbed = True  # during the way to the start
    led.wrapped.reset()
    assert led.step() is None


def test_idle_mirrors_and_reports_a_grab():
    led = Led()
    led.leader.mirrored.clear()
    pose = at(0.25, 0.05, 0.1)
    assert led.operator.idle(pose) is False
    np.testing.assert_array_equal(led.leader.mirrored, [pose])
    led.leader.grabbed = True
    assert led.operator.idle(pose) is True
    assert len(led.leader.mirrored) == 1


def test_close_releases_the_leader():
    led = Led()
    led.operator.close()
    assert led.leader.closed
