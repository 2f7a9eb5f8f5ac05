"""A spool loses and repeats nothing, wherever its process is killed or the power is cut."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from e2hil_rllib.errors import UserError
from e2hil_rllib.external.robot.spool import Spool
from tests.external.fragile_disk import FragileDisk, Killed
from tests.external.robot.test_spool import PLENTY, append, content


class SpoolAndItsModel(RuleBasedStateMachine):
    """Any life of a spool, with kills and power cuts between any two system calls."""

    @initialize()
    def begin(self) -> None:
        self.root = tempfile.TemporaryDirectory()
        self.disk = FragileDisk(Path(self.root.name))
        self.folder = Path(self.root.name) / "deep" / "spool"
        self.spool: Spool | None = None
        self.stream = ""
        self.known: dict[int, bytes] = {}  # every number that was ever given or seen
        self.acknowledged: set[int] = set()
        self.returned: set[int] = set()  # acknowledged ones that a power cut may bring back
        self.unsure: tuple[int, bytes] | None = None  # was being appended at the kill
        self.count = 0
        self.open()

    def teardown(self) -> None:
        if hasattr(self, "disk"):
            self.disk.close()
            if self.spool:
                self.spool.close()
            self.root.cleanup()

    def open(self) -> None:
        self.spool = Spool(self.folder, PLENTY)
        assert self.stream in ("", self.spool.stream)
        self.stream = self.spool.stream
        found = content(self.spool)
        if self.unsure and self.unsure[0] in found:
            self.known[self.unsure[0]] = self.unsure[1]
        self.unsure = None
        self.acknowledged -= self.returned & found.keys()
        self.returned.clear()
        self.compare()

    def survives(self, action: Callable[[], Any], calls: int | None, lost: int | None) -> bool:
        """Whether the process lives through an action; if not, another one takes its place."""
        if calls is not None:
            self.disk.kill_after(calls)
        try:
            action()
            if lost is None:
                self.disk.revive()
                return True
        except Killed:
            pass
        if self.spool:
            self.spool.close()
            self.spool = None
        self.disk.revive()
        if lost is not None:
            self.disk.cut_power(lost)
            self.returned |= self.acknowledged
        return False

    kills = st.none() | st.integers(0, 8)
    cuts = st.none() | st.none() | st.integers(0, 6)

    @rule(calls=kills, lost=cuts, size=st.integers(1, 9))
    def append(self, calls: int | None, lost: int | None, size: int) -> None:
        assert self.spool
        self.count += 1
        data = b"%d " % self.count * size

        def act() -> None:
            assert self.spool
            sequence = append(self.spool, data)[0]
            assert sequence == max(self.known, default=-1) + 1
            self.known[sequence] = data
            self.unsure = None

        self.unsure = (max(self.known, default=-1) + 1, data)
        if not self.survives(act, calls, lost):
            self.open()

    @rule(calls=kills, lost=cuts, back=st.integers(-1, 5))
    def acknowledge(self, calls: int | None, lost: int | None, back: int) -> None:
        assert self.spool
        sequence = max(self.known, default=-1) - back

        def act() -> None:
            assert self.spool
            self.spool.acknowledge(sequence)
            self.returned.discard(sequence)

        if sequence in self.known and sequence not in self.acknowledged:
            self.acknowledged.add(sequence)
            self.returned.add(sequence)
        if not self.survives(act, calls, lost):
            self.open()

    @rule(calls=st.integers(0, 12), lost=cuts)
    def open_again(self, calls: int, lost: int | None) -> None:
        assert self.spool
        self.spool.close()
        self.spool = None

        def act() -> None:
            self.spool = Spool(self.folder, PLENTY)

        self.survives(act, calls, lost)
        if self.spool:
            self.spool.close()
        self.open()

    @rule(sequence=st.integers(0, 20))
    def second_process(self, sequence: int) -> None:
        with pytest.raises(UserError, match="in use"):
            Spool(self.folder, PLENTY)

    @invariant()
    def compare(self) -> None:
        if self.spool:
            expected = {n: d for n, d in self.known.items() if n not in self.acknowledged}
            assert content(self.spool) == expected


TestAnyLife = SpoolAndItsModel.TestCase
TestAnyLife.settings = settings(
    max_examples=200, stateful_step_count=25, deadline=None, database=None
)

_ROBOT = """
import sys
from e2hil_rllib.external.robot.spool import Spool

with Spool(sys.argv[1], 1 << 30) as spool:
    while True:
        sequence = spool.append(lambda sequence: b"%d " % sequence * 5000)
        print("appended", sequence, flush=True)
        if sequence % 3 == 1:
            print("gone", sequence, flush=True)
            spool.acknowledge(sequence)
"""


def _lines_until_killed(folder: Path, seconds: float) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-c", _ROBOT, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as robot:
        assert robot.stdout
        first = robot.stdout.readline()
        time.sleep(seconds)
        robot.send_signal(signal.SIGKILL)
        for line in [first, *robot.stdout]:
            word, sequence = line.split()
            yield word, int(sequence)


def test_a_process_that_is_killed_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "spool"
    appended: list[int] = []
    gone: set[int] = set()
    for kill in range(6):
        for word, sequence in _lines_until_killed(folder, 0.02 + 0.013 * kill):
            if word == "appended":
                assert sequence not in appended
                appended.append(sequence)
            else:
                gone.add(sequence)
        with Spool(folder, PLENTY) as spool:
            found = content(spool)
        newest = max(found, default=-1)
        assert newest in (appended[-1], appended[-1] + 1) or appended[-1] in gone
        assert set(appended) - gone <= found.keys()
        assert found == {n: b"%d " % n * 5000 for n in found}
        appended += sorted(found.keys() - set(appended))  # on the disk, but not told any more
    assert sorted(appended) == list(range(len(appended))) and len(appended) > 12
