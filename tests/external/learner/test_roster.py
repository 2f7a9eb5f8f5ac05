"""The learner knows of each robot what it said last, and whether it is there."""

from __future__ import annotations

from typing import Any

from e2hil_rllib.external.learner.roster import Robot, Roster


def report(roster: Roster, stream: str, **changes: Any) -> None:
    said = {"paused": False, "stopped": False, "waiting": 0, "version": 0} | changes
    roster.report(stream, **said)


def test_robots_come_in_their_order_and_are_known_by_their_recording() -> None:
    roster = Roster()
    assert roster.robots() == []
    roster.enter("b")
    roster.enter("a")
    assert roster.robots() == [Robot("b"), Robot("a")]
    report(roster, "b", paused=True, waiting=3, version=7)
    assert roster.robots() == [
        Robot("b", connected=True, paused=True, stopped=False, waiting=3, version=7),
        Robot("a"),
    ]


def test_what_a_robot_says_replaces_what_it_said() -> None:
    roster = Roster()
    roster.enter("a")
    report(roster, "a", paused=True, waiting=3)
    report(roster, "a", version=2)
    assert roster.robots() == [Robot("a", version=2)]


def test_a_robot_that_has_left_keeps_what_it_said_last() -> None:
    """Above all that the person there has ended the session."""
    roster = Roster()
    connection = roster.enter("a")
    report(roster, "a", stopped=True, waiting=1)
    roster.leave("a", connection)
    assert roster.robots() == [Robot("a", connected=False, stopped=True, waiting=1)]


def test_the_end_of_an_old_connection_says_nothing_of_a_newer_one() -> None:
    roster = Roster()
    old = roster.enter("a")
    new = roster.enter("a")
    roster.leave("a", old)
    assert [robot.connected for robot in roster.robots()] == [True]
    roster.leave("a", new)
    assert [robot.connected for robot in roster.robots()] == [False]
    roster.leave("a", old)
    roster.leave("unknown", 1)
    assert [robot.connected for robot in roster.robots()] == [False]


def test_a_robot_that_comes_back_is_there_again_and_has_said_nothing_yet() -> None:
    roster = Roster()
    connection = roster.enter("a")
    report(roster, "a", paused=True, stopped=True)
    roster.leave("a", connection)
    roster.enter("a")
    assert roster.robots() == [Robot("a")]


def test_a_list_of_robots_does_not_change_any_more() -> None:
    roster = Roster()
    roster.enter("a")
    before = roster.robots()
    report(roster, "a", paused=True)
    roster.enter("b")
    assert before == [Robot("a")]
