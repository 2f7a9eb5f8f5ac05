"""What a robot can no longer send holds nothing up: it went to another inbox, or is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2hil_rllib.disk.files import WriteError
from e2hil_rllib.external.learner.inbox import Inbox
from tests.external.learner.test_inbox import deliver, numbers


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    with Inbox(tmp_path / "inbox") as inbox:
        yield inbox


def test_a_new_inbox_takes_a_recording_from_the_middle_on(inbox: Inbox) -> None:
    inbox.begin("a", 40)
    assert inbox.streams() == ["a"] and numbers(inbox, "a") == []
    assert deliver(inbox, "a", 41) == [True] and numbers(inbox, "a") == []
    assert deliver(inbox, "a", 40) == [True] and numbers(inbox, "a") == [40, 41]
    inbox.finish("a", 40)
    assert numbers(inbox, "a") == [41]


def test_what_is_here_of_the_time_before_a_gap_comes_first(inbox: Inbox) -> None:
    deliver(inbox, "a", 0, 1, 5)
    inbox.begin("a", 9)
    deliver(inbox, "a", 9, 11)
    assert numbers(inbox, "a") == [0, 1, 5, 9]
    assert numbers(inbox, "a", start=2) == [5, 9]
    inbox.finish("a", 8)
    assert numbers(inbox, "a") == [9]
    deliver(inbox, "a", 10)
    assert numbers(inbox, "a") == [9, 10, 11]


def test_a_robot_that_has_everything_still_makes_no_gap(inbox: Inbox) -> None:
    deliver(inbox, "a", 0, 1, 2)
    inbox.finish("a", 1)
    for first in (0, 2, 1):
        inbox.begin("a", first)
    assert numbers(inbox, "a") == [2]
    with pytest.raises(ValueError, match="chunk 3 of the recording a has not come"):
        inbox.finish("a", 3)


def test_a_gap_survives_the_process_and_the_end_of_what_was_before_it(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        deliver(inbox, "a", 0)
        inbox.begin("a", 5)
    with Inbox(tmp_path) as inbox:
        deliver(inbox, "a", 5)
        assert numbers(inbox, "a") == [0, 5]
        inbox.finish("a", 0)
    with Inbox(tmp_path) as inbox:
        assert numbers(inbox, "a") == [5]
        inbox.begin("a", 6)
        inbox.finish("a", 5)
        deliver(inbox, "a", 6)
    with Inbox(tmp_path) as inbox:
        assert numbers(inbox, "a") == [6]


def test_a_gap_of_any_length_costs_nothing(inbox: Inbox) -> None:
    deliver(inbox, "a", 0)
    largest = 2**63 - 1
    inbox.begin("a", largest)
    assert numbers(inbox, "a") == [0]
    deliver(inbox, "a", largest)
    assert numbers(inbox, "a") == [0, largest]
    inbox.finish("a", largest)
    assert len(list((inbox.folder / "a").iterdir())) == 1


@pytest.mark.parametrize(
    ("stream", "first", "fault"),
    [("../x", 0, "stream is"), ("a", -1, "first is -1"), ("a", 2**63, "first is")],
)
def test_what_names_no_chunk_is_refused(inbox: Inbox, stream: str, first: int, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        inbox.begin(stream, first)
    assert [path.name for path in inbox.folder.iterdir()] == [".lock"]


def test_on_a_full_disk_nothing_has_begun(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(inbox, "a", 0)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WriteError, match="No space left"):
            inbox.begin("a", 4)
        assert numbers(inbox, "a") == [0]
    inbox.begin("a", 4)
    deliver(inbox, "a", 4)
    assert numbers(inbox, "a") == [0, 4]
