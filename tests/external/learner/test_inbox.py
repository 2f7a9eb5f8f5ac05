"""The inbox takes each chunk once and keeps it until it is finished, whatever ends the process."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from e2hil_rllib.disk.files import WriteError
from e2hil_rllib.errors import UserError
from e2hil_rllib.external.learner.inbox import Inbox, InboxError
from e2hil_rllib.external.protocol.chunk_folder import LOST
from tests.external.fragile_disk import FragileDisk, Killed


def body(stream: str, sequence: int) -> bytes:
    return f"{stream} {sequence}".encode()


def deliver(inbox: Inbox, stream: str, *sequences: int) -> list[bool]:
    return [inbox.receive(stream, sequence, body(stream, sequence)) for sequence in sequences]


def numbers(inbox: Inbox, stream: str, start: int = 0) -> list[int]:
    return [sequence for sequence, _ in inbox.chunks(stream, start)]


@pytest.fixture
def inbox(tmp_path: Path) -> Any:
    with Inbox(tmp_path / "run" / "inbox") as inbox:
        yield inbox


def test_chunks_come_out_in_order_up_to_the_first_gap(inbox: Inbox) -> None:
    assert inbox.streams() == [] and numbers(inbox, "a") == []
    assert deliver(inbox, "a", 1, 3, 0, 0, 3) == [True, True, True, False, False]
    assert list(inbox.chunks("a")) == [(0, b"a 0"), (1, b"a 1")]
    assert deliver(inbox, "b", 0, 2) == [True, True]
    assert deliver(inbox, "a", 2) == [True]
    assert numbers(inbox, "a") == [0, 1, 2, 3] and numbers(inbox, "b") == [0]
    assert numbers(inbox, "a", start=2) == [2, 3] and numbers(inbox, "b", start=1) == []
    assert inbox.streams() == ["a", "b"]


def test_what_is_finished_goes_and_is_known_for_ever(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        deliver(inbox, "a", 0, 1, 2, 4)
        inbox.finish("a", 1)
        assert numbers(inbox, "a") == [2]
        assert sorted(path.name for path in (tmp_path / "a").glob("chunk_*")) == [
            "chunk_0000000002.bin", "chunk_0000000004.bin",
        ]  # fmt: skip
    for _ in range(2):
        with Inbox(tmp_path) as inbox:
            assert deliver(inbox, "a", 0, 1, 2, 4) == [False] * 4
            assert numbers(inbox, "a") == [2] and inbox.streams() == ["a"]
            inbox.finish("a", 0)  # again, and late
            inbox.finish("a", -1)
    with Inbox(tmp_path) as inbox:
        inbox.finish("a", 2)
        assert deliver(inbox, "a", 3) == [True] and numbers(inbox, "a") == [3, 4]


def test_what_has_not_come_cannot_be_finished(inbox: Inbox) -> None:
    deliver(inbox, "a", 0, 2)
    for stream, up_to in (("a", 2), ("a", 1), ("b", 0)):
        with pytest.raises(ValueError, match=r"has not come, so that the chunks up to"):
            inbox.finish(stream, up_to)
    inbox.finish("b", -1)
    assert numbers(inbox, "a") == [0] and inbox.streams() == ["a"]


def test_a_chunk_is_on_the_disk_before_it_can_be_acknowledged(tmp_path: Path) -> None:
    with Inbox(tmp_path / "inbox") as inbox:
        deliver(inbox, "a", 0)
        disk = FragileDisk(tmp_path)
        try:
            deliver(inbox, "a", 1)
            assert disk.calls == ["fsync", "replace", "fsync"]
            inbox.finish("a", 1)
            assert disk.calls[3:] == ["fsync", "replace", "fsync", "unlink", "unlink"]
        finally:
            disk.close()


@pytest.mark.parametrize("calls", range(7))
def test_a_kill_while_chunks_are_finished_leaves_all_or_none(tmp_path: Path, calls: int) -> None:
    disk = FragileDisk(tmp_path)
    try:
        inbox = Inbox(tmp_path / "inbox")
        deliver(inbox, "a", 0, 1, 2)
        disk.kill_after(calls)
        with pytest.raises(Killed):
            inbox.finish("a", 1)
        disk.revive()
        inbox.close()
        with Inbox(tmp_path / "inbox") as again:
            files = [int(path.stem[6:]) for path in (tmp_path / "inbox" / "a").glob("chunk_*")]
            assert sorted(files) == numbers(again, "a")
            assert len(files) in (1, 3) and deliver(again, "a", 0, 1, 2) == [False] * 3
    finally:
        disk.close()


@pytest.mark.parametrize("stream", ["", ".", "..", "../x", "a/b", "a" * 65, "ä", "a.b"])
def test_a_stream_cannot_name_another_place(inbox: Inbox, stream: str) -> None:
    with pytest.raises(ValueError, match="stream is"):
        inbox.receive(stream, 0, b"x")
    assert [path.name for path in inbox.folder.iterdir()] == [".lock"]


@pytest.mark.parametrize("sequence", [-1, 2**63])
def test_a_number_must_be_one(inbox: Inbox, sequence: int) -> None:
    with pytest.raises(ValueError, match="sequence is"):
        inbox.receive("a", sequence, b"x")


def test_what_is_lost_holds_nothing_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Inbox(tmp_path) as inbox:
        deliver(inbox, "a", 0, 2, 3, 4)
        assert inbox.receive("a", 1, LOST) and not inbox.receive("a", 1, LOST)
        path = tmp_path / "a" / "chunk_0000000003.bin"
        path.write_bytes(path.read_bytes()[:-1] + b"X")
        assert list(inbox.chunks("a")) == [(0, b"a 0"), (2, b"a 2"), (4, b"a 4")]
        for sequence in (1, 3):
            assert f"Chunk {sequence} of the recording a is lost" in caplog.text
        assert {record.levelno for record in caplog.records} == {logging.ERROR}
        inbox.finish("a", 4)
        assert deliver(inbox, "a", *range(5)) == [False] * 5
    assert [path.name for path in (tmp_path / "a").glob("*_*")] == ["damaged_chunk_0000000003.bin"]


def test_a_damaged_record_of_what_is_finished_is_told(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        deliver(inbox, "a", 0, 1)
        inbox.finish("a", 0)
    (tmp_path / "a" / "finished.bin").write_bytes(b"")
    held = []  # an error that is kept keeps what it came from alive
    for _ in range(2):
        with pytest.raises(InboxError, match=r"finished.bin is damaged.*Restore it") as error:
            Inbox(tmp_path)
        held.append(error)


def test_a_second_process_is_refused(inbox: Inbox) -> None:
    with pytest.raises(UserError, match=r"inbox is in use by another process"):
        Inbox(inbox.folder)


def test_other_folders_and_leftovers_do_no_harm(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        deliver(inbox, "a", 0)
    (tmp_path / "not a stream").mkdir()
    (tmp_path / "a" / ".chunk_0000000001.bin.12.tmp").write_bytes(b"half")
    with Inbox(tmp_path) as inbox:
        assert inbox.streams() == ["a"] and numbers(inbox, "a") == [0]
    assert not list((tmp_path / "a").glob("*.tmp"))


def test_a_full_disk_takes_nothing_and_forgets_nothing(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(inbox, "a", 0, 1)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for stream, sequence in (("a", 2), ("new", 0)):
            with pytest.raises(WriteError, match=r"No space left.*MiB are free"):
                inbox.receive(stream, sequence, b"x")
        with pytest.raises(WriteError, match=r"No space left"):
            inbox.finish("a", 1)
        assert numbers(inbox, "a") == [0, 1]
    assert deliver(inbox, "a", 2) == [True] and deliver(inbox, "new", 0) == [True]
    inbox.finish("a", 1)
    assert numbers(inbox, "a") == [2]


def test_threads_share_an_inbox(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: time.sleep(1e-4))  # others run meanwhile
    taken: list[int] = []

    def work() -> None:
        for sequence in range(30):
            if deliver(inbox, "a", sequence) == [True]:
                taken.append(sequence)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(30)) == numbers(inbox, "a")


kills = st.none() | st.none() | st.integers(0, 9)
cuts = st.none() | st.integers(0, 6)


class InboxAndItsModel(RuleBasedStateMachine):
    """Any deliveries, with kills and power cuts between any two system calls."""

    @initialize()
    def begin(self) -> None:
        self.root = tempfile.TemporaryDirectory()
        self.disk = FragileDisk(Path(self.root.name))
        self.received: dict[str, set[int]] = {"a": set(), "b": set()}
        self.finished = {"a": -1, "b": -1}
        self.gap_end = {"a": 0, "b": 0}
        self.open()

    def teardown(self) -> None:
        if hasattr(self, "disk"):
            self.disk.close()
            self.inbox.close()
            self.root.cleanup()

    def open(self) -> None:
        self.inbox = Inbox(Path(self.root.name) / "run" / "inbox")

    def survives(self, action: Callable[[], Any], calls: int | None, lost: int | None) -> bool:
        """Whether the process lives through an action; if not, another one takes its place."""
        if calls is not None:
            self.disk.kill_after(calls)
        try:
            action()
        except Killed:
            self.disk.revive()
            self.inbox.close()
            if lost is not None:
                self.disk.cut_power(lost)
            self.open()
            return False
        self.disk.revive()
        return True

    @rule(stream=st.sampled_from("ab"), sequence=st.integers(0, 7), calls=kills, lost=cuts)
    def receive(self, stream: str, sequence: int, calls: int | None, lost: int | None) -> None:
        known = self.received[stream]
        known |= {sequence} & set(range(self.finished[stream] + 1))  # finished as a gap

        def act() -> None:
            assert deliver(self.inbox, stream, sequence) == [sequence not in known]
            known.add(sequence)

        if not self.survives(act, calls, lost) and not deliver(self.inbox, stream, sequence)[0]:
            known.add(sequence)  # it came to the disk, and was not told any more
        known.add(sequence)

    @rule(stream=st.sampled_from("ab"), first=st.integers(0, 9), calls=kills, lost=cuts)
    def begin_stream(self, stream: str, first: int, calls: int | None, lost: int | None) -> None:
        def act() -> None:
            self.inbox.begin(stream, first)

        if not self.survives(act, calls, lost):
            act()  # the robot connects again
        self.gap_end[stream] = max(self.gap_end[stream], first)

    @rule(stream=st.sampled_from("ab"), more=st.integers(0, 3), calls=kills, lost=cuts)
    def finish(self, stream: str, more: int, calls: int | None, lost: int | None) -> None:
        ready = numbers(self.inbox, stream)
        up_to = ready[min(more, len(ready) - 1)] if ready else self.finished[stream]
        if self.survives(lambda: self.inbox.finish(stream, up_to), calls, lost):
            self.finished[stream] = up_to
        else:
            left = numbers(self.inbox, stream)
            assert left in (ready, ready[more + 1 :])
            if left != ready:
                self.finished[stream] = up_to

    @rule(calls=st.integers(0, 12), lost=cuts)
    def open_again(self, calls: int, lost: int | None) -> None:
        self.inbox.close()

        def act() -> None:
            self.open()

        if self.survives(act, calls, lost) and lost is not None:
            self.inbox.close()
            self.disk.cut_power(lost)
            self.open()

    @invariant()
    def nothing_is_lost_and_nothing_comes_twice(self) -> None:
        if not hasattr(self, "disk"):
            return
        for stream, known in self.received.items():
            first = self.finished[stream] + 1
            start = max(first, self.gap_end[stream])
            missing = min(set(range(start, 20)) - known)
            expected = [(n, body(stream, n)) for n in range(first, missing) if n in known]
            assert list(self.inbox.chunks(stream)) == expected
            files = (self.inbox.folder / stream).glob("chunk_*")
            assert {int(path.stem[6:]) for path in files} == {n for n in known if n >= first}


TestAnyDeliveries = InboxAndItsModel.TestCase
TestAnyDeliveries.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, database=None
)
