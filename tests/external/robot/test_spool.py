"""The spool keeps what was appended until it is acknowledged, and says what is wrong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2hil_rllib.disk.files import WriteError
from e2hil_rllib.errors import UserError
from e2hil_rllib.external.protocol.chunk import STREAM
from e2hil_rllib.external.protocol.chunk_folder import LOST
from e2hil_rllib.external.robot.spool import Spool, SpoolError
from tests.external.fragile_disk import FragileDisk, Killed

MIB = 2**20
PLENTY = 1 << 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "robot" / "spool"


def append(spool: Spool, *chunks: bytes) -> list[int]:
    return [spool.append(lambda _, data=data: data) for data in chunks]  # type: ignore[misc]


def content(spool: Spool) -> dict[int, bytes]:
    return {sequence: spool.read(sequence) for sequence, _ in spool.waiting()}


def test_chunks_wait_in_order_until_each_is_acknowledged(folder: Path) -> None:
    with Spool(folder, PLENTY) as spool:
        assert spool.waiting() == [] and STREAM.fullmatch(spool.stream)
        assert append(spool, b"a", b"b", b"c") == [0, 1, 2]
        assert spool.append(lambda sequence: b"chunk %d" % sequence) == 3
        spool.acknowledge(1)
        assert content(spool) == {0: b"a", 2: b"c", 3: b"chunk 3"}
        assert [path.name for _, path in spool.waiting()] == [
            "chunk_0000000000.bin", "chunk_0000000002.bin", "chunk_0000000003.bin",
        ]  # fmt: skip
        assert all(path.is_file() for _, path in spool.waiting())
        for unknown in (1, 4, 77, -1):
            spool.acknowledge(unknown)
        assert len(spool.waiting()) == 3
        with pytest.raises(KeyError, match="there is no chunk 1 in"):
            spool.read(1)


def test_a_stream_goes_on_where_it_was_even_when_nothing_waits(folder: Path) -> None:
    streams = set()
    for number in range(5):
        with Spool(folder, PLENTY) as spool:
            streams.add(spool.stream)
            assert append(spool, b"x") == [number]
            spool.acknowledge(number)
            assert spool.waiting() == [] and spool.waiting_bytes == 0
    with Spool(folder.with_name("other"), PLENTY) as other:
        assert len(streams) == 1 and other.stream not in streams


def test_chunks_are_found_in_the_order_of_their_numbers(folder: Path) -> None:
    with Spool(folder, PLENTY) as spool:
        append(spool, *[b"x"] * 40)
    with Spool(folder, PLENTY) as spool:
        assert [sequence for sequence, _ in spool.waiting()] == list(range(40))


def test_a_file_that_somebody_deleted_can_be_acknowledged(folder: Path) -> None:
    with Spool(folder, PLENTY) as spool:
        append(spool, b"a")
        dict(spool.waiting())[0].unlink()
        with pytest.raises(FileNotFoundError):
            spool.read(0)
        spool.acknowledge(0)
        assert spool.waiting() == []


@pytest.mark.parametrize("calls", range(12))
def test_a_kill_of_the_first_process_leaves_a_folder_to_work_with(folder: Path, calls: int) -> None:
    disk = FragileDisk(folder.parents[1])
    try:
        disk.kill_after(calls)
        with pytest.raises(Killed):
            Spool(folder, PLENTY)
        disk.revive()
        with Spool(folder, PLENTY) as spool:
            append(spool, b"a")
        disk.cut_power(99)
        with Spool(folder, PLENTY) as again:
            assert content(again) == {0: b"a"} and again.stream == spool.stream
    finally:
        disk.close()


def test_a_chunk_is_on_the_disk_before_append_returns(folder: Path) -> None:
    folder.mkdir(parents=True)
    with Spool(folder, PLENTY) as spool:
        disk = FragileDisk(folder.parent)
        try:
            append(spool, b"a")
            assert disk.calls[:3] == ["fsync", "replace", "fsync"]
        finally:
            disk.close()


def test_the_next_number_is_on_the_disk_before_the_newest_chunk_goes(folder: Path) -> None:
    with Spool(folder, PLENTY) as spool:
        append(spool, b"a", b"b")
        disk = FragileDisk(folder.parent)
        try:
            spool.acknowledge(0)
            assert disk.calls == ["unlink"]
            spool.acknowledge(1)
            assert disk.calls[1:4] == ["fsync", "replace", "fsync"] and disk.calls[-1] == "unlink"
        finally:
            disk.close()


def test_a_second_process_is_refused(folder: Path) -> None:
    with Spool(folder, PLENTY):
        code = f"from e2hil_rllib.external.robot.spool import Spool; Spool({str(folder)!r}, 1)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 1 and "is in use by another process" in done.stderr
        with pytest.raises(UserError, match=r"spool is in use by another process .*Stop that one"):
            Spool(folder, PLENTY)
    Spool(folder, PLENTY).close()


def test_a_spool_that_cannot_be_opened_does_not_stay_locked(folder: Path) -> None:
    with Spool(folder, PLENTY) as spool:
        append(spool, b"a")
    state = (folder / "stream.bin").read_bytes()
    held = []  # an error that is kept keeps what it came from alive
    for damage in (state[:-1], state[:-2] + b"?}", b""):
        (folder / "stream.bin").write_bytes(damage)
        with pytest.raises(
            SpoolError, match=r"stream.bin is damaged, .*1 chunks .*Restore it"
        ) as error:
            Spool(folder, PLENTY)
        held.append(error)
    (folder / "stream.bin").unlink()
    with pytest.raises(SpoolError, match=r"stream.bin is missing"):
        Spool(folder, PLENTY)
    (folder / "stream.bin").write_bytes(state)
    with Spool(folder, PLENTY) as again:
        assert content(again) == {0: b"a"}


def test_a_reached_capacity_loses_nothing_and_says_what_to_do(folder: Path) -> None:
    with pytest.raises(ValueError, match="capacity_bytes is 0"):
        Spool(folder, 0)
    with Spool(folder, 3 * MIB) as spool:
        append(spool, bytes([1]) * MIB, bytes([2]) * MIB)
        for _ in range(2):
            with pytest.raises(
                SpoolError,
                match=r"no more than 3\.0 MiB.*2 chunks \(2\.0 MiB\) wait.*Pause the robot",
            ):
                append(spool, bytes([3]) * MIB)
        spool.acknowledge(0)
        assert append(spool, bytes([3]) * MIB) == [2]
        assert spool.waiting_bytes == pytest.approx(2 * MIB, abs=100)
    with Spool(folder, 3 * MIB) as spool, pytest.raises(SpoolError, match="2 chunks"):
        append(spool, bytes([3]) * MIB)


@pytest.mark.parametrize(("call", "skip"), [("fsync", 0), ("fsync", 1), ("replace", 0)])
def test_a_full_disk_loses_nothing_and_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, skip: int
) -> None:
    real = getattr(os, call)
    calls = iter(range(99))

    def full(*args: Any) -> Any:
        if next(calls) < skip:
            return real(*args)
        raise OSError(errno.ENOSPC, "No space left on device")

    with Spool(folder, PLENTY) as spool:
        append(spool, b"a", b"b")
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(
                SpoolError, match=r"No space left.*MiB are free.*2 chunks .*Pause the robot"
            ):
                append(spool, b"c")
            with pytest.raises(WriteError, match="No space left"):
                spool.acknowledge(1)
            spool.acknowledge(0)  # this one frees space without taking any
            assert content(spool) == {1: b"b"}
        assert not list(folder.glob(".*.tmp"))
        assert append(spool, b"d") == [2]
        assert content(spool)[2] == b"d" and content(spool)[1] == b"b"


def test_an_empty_chunk_or_one_that_fails_takes_no_number(folder: Path) -> None:
    with Spool(folder, PLENTY) as spool:
        with pytest.raises(ValueError, match="chunk 0 is empty"):
            append(spool, b"")
        with pytest.raises(ZeroDivisionError):
            spool.append(lambda sequence: bytes(1 // sequence))
        assert append(spool, b"a") == [0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:10],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: b"X" + data[1:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:8] + bytes([data[8] ^ 1]) + data[9:],
    ],
)
def test_a_damaged_file_is_set_aside_and_holds_nothing_up(
    folder: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    with Spool(folder, PLENTY) as spool:
        append(spool, b"aaa", b"bbb", b"ccc")
        path = dict(spool.waiting())[1]
        damaged = damage(path.read_bytes())
        path.write_bytes(damaged)
    with Spool(folder, PLENTY) as spool:
        for _ in range(2):
            assert content(spool) == {0: b"aaa", 1: LOST, 2: b"ccc"}
        assert len(caplog.records) == 1 and caplog.records[0].levelname == "ERROR"
        assert "chunk_0000000001.bin is damaged" in caplog.text
        assert (folder / "damaged_chunk_0000000001.bin").read_bytes() == damaged
    with Spool(folder, PLENTY) as spool:
        assert content(spool) == {0: b"aaa", 1: LOST, 2: b"ccc"}
        for sequence in range(3):
            spool.acknowledge(sequence)
        assert append(spool, b"ddd") == [3]


def test_leftovers_of_a_kill_are_removed(folder: Path) -> None:
    Spool(folder, PLENTY).close()
    (folder / ".chunk_0000000000.bin.123.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("the user's own")
    Spool(folder, PLENTY).close()
    assert {path.name for path in folder.iterdir()} == {".lock", "stream.bin", "notes.txt"}


def test_threads_share_a_spool(folder: Path) -> None:
    with Spool(folder, PLENTY) as spool:
        seen: list[int] = []

        def work() -> None:
            for _ in range(20):
                seen.append(spool.append(lambda sequence: b"%d" % sequence))
                spool.acknowledge(min(seen))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == list(range(80))
        assert content(spool) == {n: b"%d" % n for n, _ in spool.waiting()}
