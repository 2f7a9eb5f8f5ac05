"""Episode keys: start, verdict, re-record, stop and failures."""

import logging

import gymnasium
import numpy as np
import pytest

from envs.interfaces import HardwareError
from envs.kinematics import HOME, Kinematics
from envs.operators import episode_keys
from envs.operators.episode_keys import EpisodeKeys, OperatorStopError
from envs.operators.intervention import InterventionWrapper
from envs.operators.keys import KeyEvent
from envs.operators.leader import LeaderOperator
from envs.operators.pressed import Pressed
from envs.so101 import SO101Env
from envs.tasks.real_table import RealTable
from tests.envs.operators.test_leader import HeldLeader
from tests.envs.operators.test_pressed import Feed
from tests.envs.test_so101 import PerfectArm

IDLE = np.zeros(4, np.float32)
PATIENCE = 100  # polls in vain after which a test fails instead of hanging
LEAD, POLICY, STOP = KeyEvent.TAKE_OVER, KeyEvent.GIVE_BACK, KeyEvent.STOP
SUCCESS, FAILURE, RERECORD = KeyEvent.SUCCESS, KeyEvent.FAILURE, KeyEvent.RERECORD
FLAGS = {"stopped", "rerecord_episode"}  # of ``info``, only where their key was pressed


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch):
    monkeypatch.setattr(episode_keys, "_PERIOD", 0.0)


class Person(Feed):
    """Person who answers announcements: ``answers`` holds the keys by the first word of a line."""

    def __init__(self, **answers):
        super().__init__()
        self.answers = {word: list(batches) for word, batches in answers.items()}
        self.heard = []
        self.polls = 0
        self.later = None

    def hear(self, line):
        self.heard.append(line)
        self.polls = 0
        batches = self.answers.get(line.split(" ")[0].rstrip(":"), [])
        answer = batches.pop(0) if batches else ()
        if callable(answer):
            self.later = answer  # does something once the wait has begun
        else:
            self.press(*answer)

    def poll(self):
        self.polls += 1
        if self.polls > PATIENCE:
            pytest.fail(f"it waits for more keys than the person presses, who heard {self.heard}")
        if self.later is not None and self.polls > 4:
            later, self.later = self.later, None
            self.press(*(later() or ()))
        return super().poll()


class GuardedArm(PerfectArm):
    """Arm that stands still while it has a fault."""

    fault = ""

    def __init__(self):
        super().__init__()
        self.did = []
        self.happens = lambda: None  # in a reset

    def reset(self, joint_positions):
        self.happens()
        self.did.append("moves slowly" if self.fault else "moves")
        super().reset(joint_positions)

    def acknowledge(self):
        self.did.append("acknowledges")
        self.fault = ""


class Interrupting(gymnasium.Wrapper):
    """Hardware whose steps may be interrupted."""

    reason = ""
    over = False

    def check(self):
        positions = self.unwrapped.arm.read().positions
        if self.unwrapped.arm.fault:
            raise HardwareError(self.unwrapped.arm.fault)
        return positions

    def look(self):
        return self.unwrapped.look(), {"looked": True}

    def acknowledge(self):
        self.unwrapped.arm.acknowledge()

    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        info["interrupted"] = self.reason
        return observation, reward, terminated, bool(self.reason) or self.over, info


class Session:
    """Environment with an arm, a person with keys, and perhaps a leader."""

    def __init__(self, person=None, leader=None, demonstrates=False, waits=True):
        self.person = person or Person(ready=[(POLICY,)] * 9)
        self.arm, self.leader = GuardedArm(), leader
        env = SO101Env(self.arm, None, RealTable(), reward="external")
        pressed = Pressed(self.person)
        operator = None
        if leader is not None:
            operator = LeaderOperator(leader, pressed, not demonstrates)
            env = InterventionWrapper(env, operator)
        self.steps = Interrupting(env)
        self.env = EpisodeKeys(self.steps, self.steps, pressed, operator, demonstrates, waits)
        self.env.announce = self.person.hear

    def reset(self):
        return self.env.reset(seed=0)

    def step(self, *pressed):
        """Press keys, take a step, and return its result without the observation."""
        self.person.press(*pressed)
        self.person.polls = 0
        _, reward, terminated, truncated, info = self.env.step(IDLE)
        return reward, terminated, truncated, info


def begun(**options):
    session = Session(**options)
    session.reset()
    return session


def test_without_a_key_the_episode_continues():
    session = begun()
    for _ in range(3):
        reward, terminated, truncated, info = session.step()
        assert (reward, terminated, truncated, info["succeed"]) == (0.0, False, False, False)
        assert not FLAGS & set(info)


@pytest.mark.parametrize(
    ("pressed", "reward", "terminated", "truncated", "flags"),
    [
        ((SUCCESS,), 1.0, True, False, {}),
        ((FAILURE,), 0.0, True, False, {}),
        ((FAILURE, SUCCESS), 0.0, True, False, {}),
        ((RERECORD,), 0.0, False, True, {"rerecord_episode": True}),
        ((STOP,), 0.0, False, True, {"stopped": True}),
        ((STOP, SUCCESS), 1.0, True, False, {"stopped": True}),
    ],
)
def test_keys_end_the_step_in_which_they_were_pressed(
    pressed, reward, terminated, truncated, flags
):
    session = begun()
    *end, info = session.step(*pressed)
    assert end == [reward, terminated, truncated]
    assert info["succeed"] is (reward == 1.0)
    assert {name: info[name] for name in FLAGS & set(info)} == flags


@pytest.mark.parametrize("pressed", [(STOP,), (STOP, SUCCESS)])
def test_after_stop_every_reset_raises_and_nothing_moves(pressed):
    session = begun()
    session.step(*pressed)
    did = list(session.arm.did)
    for _ in range(2):
        with pytest.raises(OperatorStopError, match="pressed the key to stop"):
            session.reset()
    assert session.arm.did == did


def test_a_second_verdict_does_not_count_for_the_next_episode():
    session = begun()
    session.step(FAILURE, SUCCESS)
    session.reset()
    assert session.step()[1] is False


def test_the_end_given_by_the_environment_stays():
    session = begun()
    session.steps.over = True
    reward, terminated, truncated, _ = session.step()
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert session.step(SUCCESS)[:3] == (1.0, True, False), "a verdict says more"


def test_a_reset_waits_for_the_person_and_tells_them_what_to_do():
    session = Session(Person(ready=[lambda: (POLICY,)]))
    observation, info = session.reset()
    assert session.person.heard == [
        "moving to the start",
        "ready: press b to let the policy act",
        "the policy acts",
    ]
    assert info["rerecord_episode"] is False
    assert session.env.observation_space.contains(observation)
    assert session.step()[-1]["is_intervention"] is False


def test_without_a_leader_space_begins_too():
    session = Session(Person(ready=[(LEAD,)]))
    session.reset()
    assert session.person.heard[-1] == "the policy acts"
    assert session.step()[-1]["is_intervention"] is False


def test_announcements_go_to_the_log_by_default(caplog):
    session = Session()
    made = EpisodeKeys(session.steps, session.steps, Pressed(Person()), None, waits=False)
    with caplog.at_level(logging.INFO):
        made.reset(seed=0)
    assert "moving to the start" in caplog.text


def test_observation_and_command_are_those_at_the_end_of_the_wait():
    moved = HOME + np.array([0.2, 0, 0, 0, 0, 0])

    def nudges():
        session.arm.positions = moved
        return (POLICY,)

    session = Session(Person(ready=[nudges]))
    observation, _ = session.reset()
    np.testing.assert_allclose(observation["state"][:6], moved, atol=1e-6)
    np.testing.assert_allclose(session.env.unwrapped.tcp_command, Kinematics().forward(moved))


def test_seed_and_options_reach_the_environment():
    session = Session()
    start = HOME + 0.1
    observation, info = session.env.reset(seed=3, options={"joint_positions": start})
    np.testing.assert_allclose(observation["state"][:6], start, atol=1e-6)
    assert "succeed" in info
    one, other = (Session().env.reset(seed=3)[0]["state"] for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("when", ["moving", "ready"])
def test_stop_during_a_reset_raises(when):
    session = Session(Person(**{when: [(STOP,)]}))
    with pytest.raises(OperatorStopError):
        session.reset()
    with pytest.raises(OperatorStopError):
        session.reset()


def test_stop_before_the_first_reset_moves_nothing():
    session = Session(leader=HeldLeader())
    session.person.press(STOP)
    with pytest.raises(OperatorStopError):
        session.reset()
    assert session.arm.did == session.leader.mirrored == []


def test_keys_pressed_on_the_way_to_the_start_do_not_count():
    early = (SUCCESS, FAILURE, LEAD, POLICY)
    session = Session(Person(moving=[early], ready=[lambda: (POLICY,)]))
    session.reset()
    assert session.person.later is None, "it waited for the key that was pressed in time"
    reward, terminated, truncated, info = session.step()
    assert (reward, terminated, truncated, info["succeed"]) == (0.0, False, False, False)


def test_keys_pressed_after_the_last_episode_do_not_count():
    session = begun(person=Person(ready=[(POLICY,), lambda: (POLICY,)]))
    session.step(SUCCESS)
    session.person.press(FAILURE, LEAD, POLICY)
    session.reset()
    assert session.person.later is None
    assert session.step()[1:3] == (False, False)


def test_verdicts_pressed_in_the_wait_count_for_the_first_step():
    """Such verdicts are late presses, since the person decides when the episode begins."""
    session = Session(Person(ready=[(POLICY, SUCCESS)]))
    session.reset()
    assert session.step()[1] is True


@pytest.mark.parametrize("when", ["before", "moving", "ready"])
def test_re_record_before_an_episode_drops_the_previous_one(when):
    answers = {"ready": [(POLICY,), (POLICY,)], "moving": [(), ()]}
    if when != "before":
        answers[when][1] = (RERECORD, *answers[when][1])
    session = begun(person=Person(**answers))
    session.step(SUCCESS)
    if when == "before":
        session.person.press(RERECORD)
    _, info = session.reset()
    assert info["rerecord_episode"] is True
    _, terminated, truncated, info = session.step()
    assert (terminated, truncated, "rerecord_episode" in info) == (False, False, False)
    session.step(SUCCESS)
    session.person.answers["ready"].append((POLICY,))
    assert session.reset()[1]["rerecord_episode"] is False, "it is said once"


def test_re_record_pressed_twice_does_not_drop_the_next_episode():
    session = begun(person=Person(ready=[(POLICY,), (RERECORD, RERECORD, POLICY)]))
    assert session.reset()[1]["rerecord_episode"] is True
    assert session.step()[2] is False


def test_a_demonstration_is_never_given_to_the_policy():
    person = Person(ready=[lambda: (POLICY, LEAD)])
    session = Session(person, HeldLeader(), demonstrates=True)
    session.reset()
    assert person.heard[1:] == [
        "ready: grab the leader, or press space, to lead",
        "the person leads",
    ]
    assert session.step()[-1]["is_intervention"] is True

    session = Session(Person(ready=[(POLICY,)]), HeldLeader(), demonstrates=True)
    with pytest.raises(pytest.fail.Exception, match="waits for more"):
        session.reset()


def test_an_intervening_person_may_lead_or_let_the_policy_begin():
    person = Person(ready=[(LEAD,), (POLICY,)])
    session = Session(person, HeldLeader())
    session.reset()
    assert person.heard[1:] == [
        "ready: grab the leader, or press space, to lead; press b to let the policy act",
        "the person leads",
    ]
    assert session.step()[-1]["is_intervention"] is True
    session.reset()
    assert person.heard[-1] == "the policy acts"
    assert session.step()[-1]["is_intervention"] is False


def test_grabbing_the_leader_in_the_wait_leads_from_the_first_step():
    leader = HeldLeader()

    def grabs():
        leader.grabbed = True

    session = Session(Person(ready=[grabs]), leader)
    session.reset()
    assert session.person.heard[-1] == "the person leads"
    for _ in range(2):
        *_, info = session.step()
        assert info["is_intervention"] is True
        assert np.abs(info["teleop_action"]).max() < 1e-6


def test_a_hand_on_the_leader_on_the_way_to_the_start_does_not_count():
    leader = HeldLeader()
    session = Session(Person(ready=[lambda: (POLICY,)]), leader)
    session.arm.happens = lambda: setattr(leader, "grabbed", True)
    session.reset()
    assert session.person.heard[-1] == "the policy acts"


def test_a_grab_counts_only_in_the_wait_with_any_operator():
    class Hand:
        grabbed, leads = False, False

        def idle(self, positions):
            return self.grabbed

        def take_over(self):
            self.leads = True

        def give_back(self):
            self.grabbed = self.leads = False

    session, hand = Session(Person(ready=[lambda: (POLICY,)])), Hand()
    session.env.operator, session.arm.happens = hand, lambda: setattr(hand, "grabbed", True)
    session.reset()
    assert session.person.heard[-1] == "the policy acts"
    assert not hand.leads


def test_the_leader_keeps_mirroring_on_the_way_to_the_start():
    session = begun(person=Person(ready=[(LEAD,), (POLICY,)]), leader=HeldLeader())
    session.step()
    session.leader.grabbed = True  # since the end of the episode
    session.leader.mirrored.clear()
    mirrored = []
    session.arm.happens = lambda: mirrored.extend(session.leader.mirrored)
    before = session.arm.positions.copy()
    session.reset()
    np.testing.assert_array_equal(mirrored, [before])


@pytest.mark.parametrize("way", ["key", "grab"])
def test_an_arm_that_moved_during_the_wait_does_not_move_when_the_person_begins(way):
    leader = HeldLeader(HOME + np.array([0.5, 0.2, 0, 0, 0, -0.3]))
    moved = HOME + np.array([0.2, 0.1, 0, 0, 0, 0])

    def nudges():
        session.arm.positions = moved
        leader.grabbed = way == "grab"
        return (LEAD,) if way == "key" else ()

    session = Session(Person(ready=[nudges]), leader)
    session.reset()
    for _ in range(3):
        *_, info = session.step()
        assert info["is_intervention"] is True
        assert np.abs(info["teleop_action"]).max() < 1e-6
    np.testing.assert_allclose(
        session.env.unwrapped.tcp_command, Kinematics().forward(moved), atol=1e-6
    )


def test_the_leader_mirrors_the_measured_follower_during_the_wait():
    leader = HeldLeader()
    moved = HOME + np.array([0.3, 0, 0, 0, 0, 0])

    def nudges():
        leader.mirrored.clear()
        session.arm.positions = moved
        session.person.later = lambda: (POLICY,)

    session = Session(Person(ready=[nudges]), leader)
    session.reset()
    assert leader.mirrored
    np.testing.assert_array_equal(leader.mirrored[-1], moved)


def test_before_the_first_reset_the_leader_mirrors_the_measured_follower():
    leader = HeldLeader()
    session = Session(leader=leader)
    session.arm.positions = HOME + 0.2
    session.reset()
    np.testing.assert_allclose(leader.mirrored[0], HOME + 0.2)


def test_the_lead_ends_with_the_episode():
    session = begun(person=Person(ready=[(LEAD,), (POLICY,)]), leader=HeldLeader())
    assert session.step()[-1]["is_intervention"] is True
    session.reset()
    assert session.env.operator.leading is False
    assert session.step()[-1]["is_intervention"] is False


def test_without_waits_a_reset_returns_immediately():
    for leader in (None, HeldLeader()):
        session = Session(Person(), leader, waits=False)
        _, info = session.reset()
        assert session.person.heard == ["moving to the start"]
        assert "rerecord_episode" not in info
        assert session.step(SUCCESS)[0] == 1.0, "the keys count nevertheless"


def test_without_keys_and_leader_a_reset_does_not_wait():
    person = Person()
    person.source = "none"
    session = Session(person)
    session.reset()
    assert person.heard == ["moving to the start"]
    session.arm.fault = "elbow_flex is 70 degrees hot"
    with pytest.raises(HardwareError, match="70 degrees hot"):
        session.reset()
    assert session.arm.did == ["moves"], "nobody consents"


def test_without_keys_the_leader_can_still_be_grabbed():
    leader = HeldLeader()
    person = Person(ready=[lambda: setattr(leader, "grabbed", True)])
    person.source = "none"
    session = Session(person, leader)
    session.reset()
    assert person.heard[-1] == "the person leads"
    assert session.step()[-1]["is_intervention"] is True


@pytest.mark.parametrize("consent", [LEAD, POLICY])
def test_an_arm_with_a_fault_is_not_moved_before_the_person_consents(consent):
    session = begun(person=Person(ready=[(POLICY,)] * 2, the=[(), lambda: (SUCCESS, consent)]))
    session.arm.did.clear()
    session.arm.fault = "elbow_flex is 70 degrees hot"
    session.person.press(LEAD, POLICY)  # before they were asked
    session.reset()
    assert session.person.later is None
    assert session.arm.did == ["acknowledges", "moves"]
    asked = [line for line in session.person.heard if "elbow_flex" in line]
    assert asked == [
        "the arm stands still: elbow_flex is 70 degrees hot. Press space once it is safe to go on"
    ]


def test_an_arm_without_a_fault_needs_no_consent():
    session = begun()
    assert session.arm.did == ["moves"]
    assert not [line for line in session.person.heard if "stands still" in line]


def test_an_arm_is_read_while_it_waits_for_consent():
    session = Session(Person(ready=[(POLICY,)], the=[lambda: (LEAD,)]))
    session.arm.fault = "elbow_flex is 70 degrees hot"
    reads, read = [], session.arm.read

    def counted():
        reads.append(list(session.arm.did))
        return read()

    session.arm.read = counted
    session.reset()
    assert reads.count([]) >= 2


def test_stop_instead_of_consent_acknowledges_nothing():
    session = Session(Person(the=[lambda: (STOP,)]))
    session.arm.fault = "elbow_flex is 70 degrees hot"
    with pytest.raises(OperatorStopError):
        session.reset()
    assert session.arm.did == []


def test_an_interrupted_step_is_not_judged():
    session = begun()
    session.steps.reason = "the elbow is too hot"
    reward, terminated, truncated, info = session.step(SUCCESS)
    assert (reward, terminated, truncated, info["succeed"]) == (0.0, False, True, False)
    session.reset()
    session.steps.reason = ""
    assert session.step()[1] is False, "it was about the episode before"


def test_a_verdict_in_an_interrupted_step_counts_if_the_episode_continues():
    session = begun()
    session.steps.reason = "the elbow is too hot"
    session.step(SUCCESS)
    session.steps.reason = ""
    assert session.step()[:2] == (1.0, True)


def test_re_record_in_an_interrupted_step_is_reported_by_the_reset():
    session = begun()
    session.steps.reason = "the elbow is too hot"
    assert "rerecord_episode" not in session.step(RERECORD)[-1]
    session.steps.reason = ""
    assert session.reset()[1]["rerecord_episode"] is True


def test_stop_counts_in_an_interrupted_step():
    session = begun()
    session.steps.reason = "the elbow is too hot"
    *_, truncated, info = session.step(STOP)
    assert (truncated, info["stopped"], info["interrupted"]) == (True, True, session.steps.reason)
    with pytest.raises(OperatorStopError):
        session.reset()


def test_led_by_a_person_is_visible_through_wrappers():
    assert gymnasium.Wrapper(Session().env).get_wrapper_attr("led_by_a_person") is True


@pytest.mark.parametrize("broken", [(), ("arm",), ("leader",), ("arm", "leader")])
def test_close_releases_everything_in_order_even_if_one_fails(broken):
    session = Session(leader=HeldLeader())
    closed = []

    def closing(name):
        def close():
            closed.append(name)
            if name in broken:
                raise RuntimeError(f"the {name}'s port is gone")

        return close

    session.arm.close, session.leader.close = closing("arm"), closing("leader")
    session.person.close = closing("keys")
    if broken:
        with pytest.raises(RuntimeError, match=f"the {broken[-1]}'s port is gone"):
            session.env.close()
    else:
        session.env.close()
    assert closed == ["arm", "leader", "keys"]


def test_close_without_a_leader_closes_arm_and_keys():
    session = Session()
    session.env.close()
    assert session.arm.closed and session.person.closed


def test_a_demonstration_without_a_wait_is_led_from_the_first_step():
    session = Session(Person(), HeldLeader(), demonstrates=True, waits=False)
    session.reset()
    assert session.step()[-1]["is_intervention"] is True


def test_without_a_wait_re_record_does_not_count():
    session = Session(Person(), waits=False)
    session.reset()
    session.person.press(RERECORD)
    session.reset()
    assert session.step()[2] is False


def test_a_failure_in_the_wait_is_announced_and_fixed_before_the_episode():
    def fails():
        session.arm.fault = "the cable is out"
        return ()

    def mends():
        session.arm.fault = ""
        session.person.later = lambda: (LEAD,)
        return ()

    session = Session(Person(ready=[fails, (POLICY,)], the=[mends]))
    session.reset()
    assert session.person.heard == [
        "moving to the start",
        "ready: press b to let the policy act",
        "the arm stands still: the cable is out. Press space once it is safe to go on",
        "it can be used again: press space to go on",
        "moving to the start",
        "ready: press b to let the policy act",
        "the policy acts",
    ]


def test_a_blocked_way_is_tried_again_after_consent():
    blocked = ["shoulder_pan stays 0.4 rad from its target"]

    def happens():
        if blocked:
            raise HardwareError(blocked.pop())

    session = Session(Person(the=[(LEAD,)], ready=[(POLICY,)]))
    session.arm.happens = happens
    session.reset()
    assert session.person.heard[1].startswith("the arm stands still: shoulder_pan stays 0.4 rad")
    assert session.arm.did == ["acknowledges", "moves"]


def test_re_record_of_the_previous_episode_survives_a_failure():
    def fails():
        session.arm.fault = "the cable is out"
        return (RERECORD,)

    session = Session(Person(ready=[fails, (POLICY,)], the=[(LEAD,)]))
    _, info = session.reset()
    assert info["rerecord_episode"] is True and info["looked"] is True
