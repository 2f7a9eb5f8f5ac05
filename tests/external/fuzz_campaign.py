"""A robot delivers to a server while others send it nonsense: what does it feel of that?"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from e2hil_rllib.external.learner.inbox import Inbox
from e2hil_rllib.external.protocol.codec import decode, encode
from e2hil_rllib.external.protocol.framing import FrameReader, frame
from e2hil_rllib.external.protocol.secure import client_context, connect
from e2hil_rllib.external.robot.delivery import Delivery, Destination
from e2hil_rllib.external.robot.spool import Spool
from tests.external.certificates import Pair
from tests.external.fuzz import TOKEN, hello
from tests.external.fuzz_client import fuzz
from tests.external.fuzz_server import Figures, serve

LOOPBACK = "127.0.0.1"
RATE = 10.0
"""Chunks of the robot [1/s]."""
STRANGERS, KNOWING = 16, 6
"""Connections of the fuzzer at a time: without the token, and with it. A server of eight clients
has two places left: for the robot, and for another that comes now and then."""

_PATIENCE = 30.0  # for anything that takes much less [s]


class TimedSpool(Spool):
    """Knows when each chunk was appended and acknowledged."""

    appended: dict[int, float]
    acknowledged: dict[int, float]

    def acknowledge(self, sequence: int) -> None:
        """As of any spool."""
        super().acknowledge(sequence)
        self.acknowledged.setdefault(sequence, time.perf_counter())

    def latencies(self) -> list[float]:
        """From each chunk's being safe on the robot's disk to its being gone from there [s]."""
        return [
            self.acknowledged[sequence] - begun
            for sequence, begun in self.appended.items()
            if sequence in self.acknowledged
        ]


@dataclass
class Outcome:
    """What became of it all.

    Attributes:
        sent: The fuzzer's messages by kind.
        ends: Its connections, by how they ended.
        seconds: How long it took.
        figures: The server's: before the fuzzing, early in it, and when all of it was over.
        calm: Latencies of the robot's chunks before the fuzzing [s].
        fuzzed: And during it [s].
        welcomes: How long another robot took to be welcomed, now and then during the fuzzing [s].
        delivered: How many chunks the robot has recorded.
        is_exact: Whether the learner has each of them, as it was recorded, once, in its order.
        reconnections: How often the robot lost its connection.
    """

    sent: Counter[str]
    ends: Counter[str]
    seconds: float
    figures: list[Figures]
    calm: list[float]
    fuzzed: list[float]
    welcomes: list[float]
    delivered: int
    is_exact: bool
    reconnections: int


def chunk(sequence: int) -> bytes:
    """Bytes that no other chunk has, up to 20 kB."""
    rng = np.random.default_rng(sequence)
    return b"%d:" % sequence + rng.bytes(int(rng.integers(1, 20_000)))


class _Server:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.port: int = pipe.recv()

    def figures(self) -> Figures:
        self._pipe.send(True)
        assert self._pipe.poll(_PATIENCE), "the server does not answer"
        return self._pipe.recv()


@contextmanager
def served(folder: Path, pair: Pair | None) -> Iterator[_Server]:
    """A server in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(folder, TOKEN, pair, there), daemon=True)
    process.start()
    there.close()
    try:
        yield _Server(here)
        here.send(False)
        process.join(_PATIENCE)
    finally:
        process.kill()
        process.join()


@contextmanager
def fuzzed(port: int, messages: int, pair: Pair | None, seed: int) -> Iterator[Connection]:
    """A fuzzer in a process of its own; gives where it reports when it has sent all."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    authority = None if pair is None else pair.authority
    threads = STRANGERS + KNOWING
    arguments = (port, messages, threads, KNOWING, authority, seed, there)
    process = context.Process(target=fuzz, args=arguments, daemon=True)
    process.start()
    there.close()
    try:
        here.recv()  # it begins
        yield here
    finally:
        process.kill()
        process.join()


class Robot:
    """Records chunks at its rate, whatever else happens."""

    def __init__(self, spool: TimedSpool) -> None:
        self._spool, self._next = spool, time.perf_counter()

    def work_until(self, done: Callable[[], bool]) -> None:
        """Records until it is done."""
        self._next = max(self._next, time.perf_counter())
        while not done():
            time.sleep(max(0.0, self._next - time.perf_counter()))
            self._next += 1 / RATE
            sequence = self._spool.append(chunk)
            self._spool.appended[sequence] = time.perf_counter()


def time_to_welcome(port: int, pair: Pair | None) -> float:
    """How long another robot takes to be welcomed [s]; it tries again as robots do."""
    begun = time.perf_counter()
    context = None if pair is None else client_context(pair.authority)
    while time.perf_counter() - begun < _PATIENCE:
        try:
            with connect(LOOPBACK, port, context, timeout=10.0) as connection:
                connection.sendall(frame(encode(hello("another-robot"))))
                for body in FrameReader().feed(connection.recv(1 << 16)):
                    assert decode(body)["type"] == "WELCOME"
                    return time.perf_counter() - begun
        except (ConnectionError, TimeoutError):
            time.sleep(0.05)
    raise AssertionError("another robot is not welcomed")


def campaign(
    folder: Path, messages: int, calm: float, seed: int, pair: Pair | None = None
) -> Outcome:
    """A robot works for a calm time [s], and then while so many messages are sent to its server.

    Args:
        folder: For the spool and the inbox.
        messages: How many the fuzzer sends.
        calm: How long the robot works alone before [s].
        seed: Of the fuzzer's messages.
        pair: The server's certificate, for TLS; None for no encryption.
    """
    tls = None if pair is None else client_context(pair.authority)
    connections: list[object] = []
    with served(folder / "learner", pair) as server, TimedSpool(folder / "robot", 1 << 30) as spool:
        spool.appended, spool.acknowledged = {}, {}
        destination = Destination(LOOPBACK, server.port, TOKEN, tls)
        with closing(Delivery(spool, destination, check=connections.append)) as delivery:
            robot, welcomes = Robot(spool), []
            begun = time.perf_counter()
            robot.work_until(lambda: time.perf_counter() >= begun + calm)
            alone, figures = len(spool.appended), [server.figures()]
            with fuzzed(server.port, messages, pair, seed) as report:
                begun = time.perf_counter()
                while not report.poll():
                    pause = time.perf_counter() + 1.0
                    robot.work_until(lambda: report.poll() or time.perf_counter() >= pause)  # noqa: B023
                    welcomes.append(time_to_welcome(server.port, pair))
                    if len(figures) == 1:
                        figures.append(server.figures())
                sent, ends = report.recv()
                seconds = time.perf_counter() - begun
            everything = delivery.flush(_PATIENCE)
        figures.append(_settled(server))
        recorded = [(number, chunk(number)) for number in range(len(spool.appended))]
        latencies, stream = spool.latencies(), spool.stream
    with Inbox(folder / "learner") as inbox:
        is_exact = everything and list(inbox.chunks(stream)) == recorded
    return Outcome(
        sent=sent,
        ends=ends,
        seconds=seconds,
        figures=figures,
        calm=latencies[:alone],
        fuzzed=latencies[alone:],
        welcomes=welcomes,
        delivered=len(recorded),
        is_exact=is_exact,
        reconnections=len(connections) - 1,
    )


def _settled(server: _Server) -> Figures:
    """The figures when the server has noticed that all are gone."""
    end = time.monotonic() + _PATIENCE
    while (figures := server.figures()).clients and time.monotonic() < end:
        time.sleep(0.1)
    return figures
