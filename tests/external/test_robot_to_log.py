"""Spool, network and inbox together: the learner's log is what the robot recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from e2hil_rllib.external.learner.inbox import Inbox
from e2hil_rllib.external.robot.spool import Spool
from tests.external.fragile_disk import FragileDisk, Killed

kills = st.none() | st.none() | st.integers(0, 9)


class FromRobotToLog(RuleBasedStateMachine):
    """A spool, a network, an inbox and a log: at the end, the log is what the robot recorded."""

    @initialize()
    def begin(self) -> None:
        self.root = tempfile.TemporaryDirectory()
        self.disk = FragileDisk(Path(self.root.name))
        self.recorded: list[bytes] = []
        self.log: list[tuple[int, bytes]] = []
        self.network: list[tuple[int, bytes]] = []
        self.acknowledgements: list[int] = []
        self.open_spool()
        self.open_inbox()

    def open_spool(self) -> None:
        self.spool = Spool(Path(self.root.name) / "robot", 1 << 20)

    def open_inbox(self) -> None:
        self.inbox = Inbox(Path(self.root.name) / "learner")

    def with_kill(self, calls: int | None, action: Callable[[], Any], at: str) -> None:
        if calls is not None:
            self.disk.kill_after(calls)
        try:
            action()
        except Killed:
            self.disk.revive()
            if at == "robot":
                self.spool.close()
                self.open_spool()
            else:
                self.inbox.close()
                self.open_inbox()
        self.disk.revive()

    @rule(calls=kills)
    def record(self, calls: int | None) -> None:
        data = b"step %d" % len(self.recorded)
        before = dict(self.spool.waiting()).keys()
        self.with_kill(calls, lambda: self.spool.append(lambda _: data), "robot")
        for sequence in dict(self.spool.waiting()).keys() - before:
            assert sequence == len(self.recorded)
            self.recorded.append(data)

    @rule()
    def everything_arrives(self) -> None:
        for sequence, _ in self.spool.waiting():
            self.inbox.receive(self.spool.stream, sequence, self.spool.read(sequence))
            self.spool.acknowledge(sequence)

    @rule()
    def start_again(self) -> None:
        self.spool.close()
        self.inbox.close()
        self.open_spool()
        self.open_inbox()

    @rule(which=st.integers(0, 3), times=st.integers(0, 2))
    def send(self, which: int, times: int) -> None:
        waiting = [sequence for sequence, _ in self.spool.waiting()][which : which + 1]
        self.network += [(sequence, self.spool.read(sequence)) for sequence in waiting] * times

    @rule(which=st.integers(0, 5), calls=kills)
    def arrive(self, which: int, calls: int | None) -> None:
        for sequence, data in self.network[which : which + 1]:

            def act(sequence: int = sequence, data: bytes = data) -> None:
                self.inbox.receive(self.spool.stream, sequence, data)
                self.acknowledgements.append(sequence)

            self.with_kill(calls, act, "learner")
        del self.network[which : which + 1]

    @rule(which=st.integers(0, 5), calls=kills)
    def acknowledge(self, which: int, calls: int | None) -> None:
        for sequence in self.acknowledgements[which : which + 1]:

            def act(sequence: int = sequence) -> None:
                self.spool.acknowledge(sequence)

            self.with_kill(calls, act, "robot")

    @rule(calls=kills)
    def write_log(self, calls: int | None) -> None:
        stream = self.spool.stream
        # A log tells by the numbers in it what a learner that was killed had written already.
        self.log += self.inbox.chunks(stream, start=len(self.log))
        self.with_kill(calls, lambda: self.inbox.finish(stream, len(self.log) - 1), "learner")

    def teardown(self) -> None:
        if not hasattr(self, "disk"):
            return
        self.everything_arrives()
        self.write_log(None)
        assert self.log == list(enumerate(self.recorded))
        assert self.spool.waiting() == [] and not list(self.inbox.chunks(self.spool.stream))
        self.disk.close()
        self.spool.close()
        self.inbox.close()
        self.root.cleanup()


TestFromRobotToLog = FromRobotToLog.TestCase
TestFromRobotToLog.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, database=None
)
