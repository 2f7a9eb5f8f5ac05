"""Pausing: the person pauses the robot, and the arm stands still without commands."""

import numpy as np
import pytest

from envs.kinematics import HOME
from envs.operators import episode_keys
from envs.operators.episode_keys import OperatorStopError
from envs.operators.keys import KEYS, KeyEvent
from tests.envs.operators.test_episode_keys import LEAD, POLICY, STOP, SUCCESS, Person, begun
from tests.envs.operators.test_leader import HeldLeader

PAUSE = KeyEvent.PAUSE
MOVED = HOME + np.array([0.2, 0.1, 0, 0, 0, 0])


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch):
    monkeypatch.setattr(episode_keys, "_PERIOD", 0.0)


def test_pause_has_a_key():
    assert KEYS["p"] is PAUSE


def test_pause_truncates_and_says_so_once():
    session = begun()
    assert "paused" not in session.step()[-1]
    reward, terminated, truncated, info = session.step(PAUSE)
    assert (reward, terminated, truncated, info["paused"]) == (0.0, False, True, True)
    assert not {"stopped", "rerecord_episode"} & set(info) and info["succeed"] is False
    session.reset()
    *_, truncated, info = session.step()
    assert truncated is False and "paused" not in info


def test_after_a_pause_the_next_episode_waits_for_the_person():
    session = begun(person=Person(ready=[(POLICY,), lambda: (POLICY,)]))
    session.step(PAUSE)
    session.person.heard.clear()
    session.reset()
    assert session.person.later is None, "it waited"
    assert session.person.heard[1:] == ["ready: press b to let the policy act", "the policy acts"]


def test_a_verdict_and_a_pause_both_count():
    reward, terminated, truncated, info = begun().step(SUCCESS, PAUSE)
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["succeed"] is True and info["paused"] is True


def test_pause_counts_in_an_interrupted_step():
    session = begun()
    session.steps.reason = "the elbow is too hot"
    *_, truncated, info = session.step(PAUSE)
    assert (truncated, info["paused"], info["interrupted"]) == (True, True, session.steps.reason)


@pytest.mark.parametrize("when", ["before", "moving"])
def test_a_pause_between_two_episodes_does_not_count_for_the_next(when):
    session = begun(person=Person(ready=[(POLICY,)] * 2, moving=[(), (PAUSE,)]))
    session.step(SUCCESS)
    if when == "before":
        session.person.press(PAUSE)
    session.reset()
    assert session.step()[2] is False


def test_stand_still_reads_the_arm_without_moving_it():
    session = begun()
    reads, read, did = [], session.arm.read, list(session.arm.did)
    session.arm.read = lambda: reads.append(1) or read()
    for _ in range(3):
        session.env.stand_still()
    assert len(reads) == 3 and session.arm.did == did


def test_stand_still_gives_the_arm_back_and_the_leader_mirrors_it():
    session = begun(person=Person(ready=[(LEAD,)]), leader=HeldLeader())
    assert session.step()[-1]["is_intervention"] is True
    session.arm.positions = MOVED
    session.leader.mirrored.clear()
    session.env.stand_still()
    assert session.env.operator.leading is False
    np.testing.assert_array_equal(session.leader.mirrored, [MOVED])


def test_a_leader_grabbed_while_standing_still_stops_mirroring():
    session = begun(leader=HeldLeader())
    session.env.stand_still()
    session.leader.grabbed = True
    session.leader.mirrored.clear()
    for _ in range(3):
        session.env.stand_still()
    assert session.leader.mirrored == [], "it does not pull at the hand"
    assert session.env.operator.leading is False


def test_stop_ends_standing_still():
    session = begun()
    session.env.stand_still()
    session.person.press(STOP)
    for act in (session.env.stand_still, session.env.stand_still, session.reset):
        with pytest.raises(OperatorStopError, match="pressed the key to stop"):
            act()


def test_a_failure_while_standing_still_is_left_to_the_next_reset():
    session = begun(person=Person(ready=[(POLICY,)] * 2, the=[(), (LEAD,)]))
    session.arm.fault = "the cable is out"
    session.env.stand_still()
    assert session.arm.did == ["moves"]
    session.reset()
    assert session.person.heard[3].startswith("the arm stands still: the cable is out")
    assert session.arm.did == ["moves", "acknowledges", "moves"]


def test_the_arm_is_given_back_even_after_a_failure():
    session = begun(person=Person(ready=[(LEAD,)]), leader=HeldLeader())
    session.step()
    session.arm.fault = "the cable is out"
    session.env.stand_still()
    session.arm.fault = ""
    session.env.stand_still()
    assert session.env.operator.leading is False
