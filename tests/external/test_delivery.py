"""What a robot has appended arrives at the learner, once and whole, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from e2hil_rllib.external.codec import MalformedMessage, decode
from e2hil_rllib.external.delivery import Delivery
from e2hil_rllib.external.inbox import Inbox
from e2hil_rllib.external.listener import Listener
from e2hil_rllib.external.robot_session import RobotSession
from e2hil_rllib.external.spool import Spool

LOOPBACK = "127.0.0.1"


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def chunk(number: int) -> bytes:
    """Bytes that no other chunk has, up to 20 kB."""
    rng = np.random.default_rng(number)
    return b"%d:" % number + rng.bytes(int(rng.integers(1, 20_000)))


class Learner:
    """A server with its inbox, which can be stopped and started again."""

    def __init__(self, folder: Path, token: str | None = None) -> None:
        self.folder, self.token, self.port = folder, token, 0
        self.start()

    def start(self) -> None:
        self.inbox = Inbox(self.folder)
        session = partial(RobotSession, self.inbox, self.token)
        self.listener = Listener(LOOPBACK, self.port, session)
        self.port = self.listener.port

    def stop(self) -> None:
        self.listener.close()
        self.inbox.close()

    def received(self) -> list[bytes]:
        streams = self.inbox.streams()
        return [data for stream in streams for _, data in self.inbox.chunks(stream)]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "robot", 1 << 28) as spool:
        yield spool


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Learner]:
    learner = Learner(tmp_path / "learner")
    yield learner
    learner.stop()


def delivery_to(spool: Spool, port: int, **options) -> Delivery:
    return Delivery(spool, LOOPBACK, port, **{"patience": 2.0, **options})


def test_everything_arrives_in_its_order_and_leaves_the_spool(
    spool: Spool, learner: Learner
) -> None:
    for number in range(20):
        spool.append(lambda _, number=number: chunk(number))
    delivery = delivery_to(spool, learner.port)
    for number in range(20, 60):
        spool.append(lambda _, number=number: chunk(number))
    assert delivery.flush(30.0)
    status = delivery.status
    assert (status.connected, status.delivered, status.waiting, status.trouble) == (True, 60, 0, "")
    delivery.close()
    delivery.close()
    assert learner.received() == [chunk(number) for number in range(60)]


def test_without_a_server_everything_waits_and_the_status_says_why(
    spool: Spool, learner: Learner
) -> None:
    learner.listener.close()
    delivery = delivery_to(spool, learner.port)
    spool.append(lambda _: chunk(0))
    until(lambda: "refused" in delivery.status.trouble)
    assert not delivery.flush(0.3) and delivery.status.waiting == 1
    learner.inbox.close()
    learner.start()
    assert delivery.flush(30.0) and learner.received() == [chunk(0)]
    assert delivery.status.trouble == ""
    delivery.close()


def test_a_server_that_comes_and_goes_gets_everything_once(spool: Spool, learner: Learner) -> None:
    delivery = delivery_to(spool, learner.port, window=4)
    for number in range(60):
        spool.append(lambda _, number=number: chunk(number))
        if number % 15 == 7:
            learner.stop()
            learner.start()
    assert delivery.flush(30.0)
    delivery.close()
    assert learner.received() == [chunk(number) for number in range(60)]


def test_a_robot_without_the_token_is_refused_and_loses_nothing(
    spool: Spool, tmp_path: Path
) -> None:
    learner = Learner(tmp_path / "learner", token="open sesame")
    spool.append(lambda _: chunk(0))
    for token in ("", "open sesamé"):
        delivery = delivery_to(spool, learner.port, token=token)
        until(lambda: "the token is not the server's" in delivery.status.trouble)  # noqa: B023
        delivery.close()
        assert learner.received() == [] and len(spool.waiting()) == 1
    delivery = delivery_to(spool, learner.port, token="open sesame")
    assert delivery.flush(30.0) and learner.received() == [chunk(0)]
    delivery.close()
    learner.stop()


class BadNetwork:
    """Passes bytes on between robot and learner; cuts, stalls and drops them now and then."""

    def __init__(self, port: int, seed: int) -> None:
        self._port, self._rng = port, np.random.default_rng(seed)
        self._server = socket.create_server((LOOPBACK, 0))
        self.port = self._server.getsockname()[1]
        self.cuts = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                robot, _ = self._server.accept()
            except OSError:
                return
            left = int(self._rng.integers(100, 100_000)) if self.cuts < 7 else 1 << 40
            with robot, socket.create_connection((LOOPBACK, self._port)) as learner:
                for end in (robot, learner):
                    end.settimeout(0.002)
                while left > 0:
                    try:
                        left -= self._pass_on(robot, learner) + self._pass_on(learner, robot)
                    except OSError:
                        break
                if self.cuts % 3 == 0:
                    time.sleep(0.3)  # half a message, then nothing
            self.cuts += 1

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> int:
        try:
            data = source.recv(4000)
        except TimeoutError:
            return 0
        if not data:
            raise ConnectionError("hung up")
        sink.sendall(data)
        return len(data)

    def close(self) -> None:
        self._server.close()


def test_a_network_that_cuts_messages_in_half_loses_and_doubles_nothing(
    spool: Spool, learner: Learner
) -> None:
    network = BadNetwork(learner.port, seed=3)
    delivery = delivery_to(spool, network.port, window=3)
    longest = 0.0
    for number in range(60):
        begun = time.monotonic()
        spool.append(lambda _, number=number: chunk(number))
        longest = max(longest, time.monotonic() - begun)
    assert delivery.flush(60.0)
    delivery.close()
    network.close()
    assert network.cuts >= 5
    assert learner.received() == [chunk(number) for number in range(60)]
    assert longest < 1.0, "who records does not wait for the network"


def test_a_server_that_never_acknowledges_keeps_nothing_from_the_spool(spool: Spool) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        delivery = delivery_to(spool, silent.getsockname()[1], patience=0.5)
        spool.append(lambda _: chunk(0))
        until(lambda: "no welcome within" in delivery.status.trouble)
        assert delivery.status.waiting == 1 and not delivery.status.connected
        delivery.close()


ROBOT = """
import sys
from pathlib import Path
from e2hil_rllib.external.delivery import Delivery
from e2hil_rllib.external.spool import Spool
from tests.external.test_delivery import LOOPBACK, chunk

spool = Spool(Path(sys.argv[1]), 1 << 28)
delivery = Delivery(spool, LOOPBACK, int(sys.argv[2]), patience=2.0)
for _ in range(40):
    print(spool.append(chunk), flush=True)
delivery.flush(float(sys.argv[3]))
delivery.close()
"""

LEARNER = """
import sys, time
from pathlib import Path
from tests.external.test_delivery import Learner

class Fixed(Learner):
    def start(self):
        self.port = int(sys.argv[2])
        super().start()

learner = Fixed(Path(sys.argv[1]))
print("listens", flush=True)
time.sleep(60)
"""


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_both_sides_are_killed_again_and_again(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    rng, appended = np.random.default_rng(1), 0
    for round_ in range(5):
        last = round_ == 4
        learner = started(LEARNER, tmp_path / "learner", port)
        assert learner.stdout is not None and learner.stdout.readline() == "listens\n"
        robot = started(ROBOT, tmp_path / "robot", port, 30.0 if last else 0.0)
        assert robot.stdout is not None
        for place in range(40 if last else int(rng.integers(1, 39))):
            appended = max(appended, int(robot.stdout.readline()) + 1)
            if not last and place == 5:
                os.kill(learner.pid, signal.SIGKILL)
        if last:
            assert robot.wait(60) == 0
        for process in (robot, learner):
            process.kill()
            process.communicate()
    with Spool(tmp_path / "robot", 1 << 28) as spool, Inbox(tmp_path / "learner") as inbox:
        assert spool.waiting() == []
        (stream,) = inbox.streams()
        assert stream == spool.stream
        received = [data for _, data in inbox.chunks(stream)]
    # A chunk that was appended when the kill came may not have been printed any more.
    assert len(received) >= appended and received == [chunk(n) for n in range(len(received))]


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ([{"type": "CHUNK", "sequence": 0, "data": b"x"}], "not what a robot says now"),
        ([{"type": "HELLO", "protocol": 1, "stream": "a"}] * 2, "not what a robot says now"),
        ([{"type": "HELLO", "protocol": 2, "stream": "a"}], "protocol 2 and the server 1"),
        ([{"type": "HELLO", "protocol": 1}], "does not name its recording"),
        ([{"type": "HELLO", "protocol": 1, "stream": "a"}, {"type": "CHUNK"}], "a whole number"),
        (
            [
                {"type": "HELLO", "protocol": 1, "stream": "../../etc"},
                {"type": "CHUNK", "sequence": 0, "data": b"x"},
            ],
            "stream",
        ),
        (
            [
                {"type": "HELLO", "protocol": 1, "stream": "a"},
                {"type": "CHUNK", "sequence": -1, "data": b"x"},
            ],
            "sequence",
        ),
    ],
)
def test_what_no_robot_says_is_refused(messages: list, fault: str, tmp_path: Path) -> None:
    with Inbox(tmp_path / "inbox") as inbox:
        session = RobotSession(inbox, None, (LOOPBACK, 1))
        with pytest.raises(MalformedMessage, match=fault):
            for message in messages:
                list(session.answer(message))
        assert all(list(inbox.chunks(stream)) == [] for stream in inbox.streams())


def test_an_acknowledgement_comes_after_the_chunk_is_there_and_again_for_a_repeated_one(
    tmp_path: Path,
) -> None:
    with Inbox(tmp_path / "inbox") as inbox:
        session = RobotSession(inbox, None, (LOOPBACK, 1))
        list(session.answer({"type": "HELLO", "protocol": 1, "stream": "a"}))
        for _ in range(2):
            answers = session.answer({"type": "CHUNK", "sequence": 0, "data": b"x"})
            assert decode(next(answers)) == {"type": "ACK", "sequence": 0}
            assert list(inbox.chunks("a")) == [(0, b"x")]
            assert list(answers) == []
