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

from e2hil_rllib.external.learner.bulletin import Bulletin
from e2hil_rllib.external.learner.inbox import Inbox
from e2hil_rllib.external.learner.listener import Listener
from e2hil_rllib.external.learner.robot_session import RobotSession
from e2hil_rllib.external.learner.roster import Roster
from e2hil_rllib.external.protocol import PROTOCOL
from e2hil_rllib.external.protocol.codec import MessageError, decode
from e2hil_rllib.external.robot.delivery import Delivery, Destination, RefusedError
from e2hil_rllib.external.robot.spool import Spool
from tests.patience import stretched, wait_until

pytestmark = pytest.mark.realtime

LOOPBACK = "127.0.0.1"


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    wait_until(condition, seconds)


def chunk(number: int) -> bytes:
    """Bytes that no other chunk has, up to 20 kB."""
    rng = np.random.default_rng(number)
    return b"%d:" % number + rng.bytes(int(rng.integers(1, 20_000)))


class Learner:
    """A server with its inbox, which can be stopped and started again."""

    def __init__(self, folder: Path, token: str | None = None) -> None:
        self.folder, self.token, self.port = folder, token, 0
        self.bulletin, self.roster = Bulletin({"trunk": "of this learner"}), Roster()
        self.start()

    def start(self) -> None:
        self.inbox = Inbox(self.folder)
        session = partial(RobotSession, self.inbox, self.bulletin, self.roster, self.token)
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


def delivery_to(spool: Spool, port: int, token: str = "", **options) -> Delivery:
    destination = Destination(LOOPBACK, port, token)
    return Delivery(spool, destination, **{"patience": 2.0, **options})


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
    assert longest < stretched(1.0), "who records does not wait for the network"


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
from e2hil_rllib.external.robot.spool import Spool
from tests.external.robot.test_delivery import chunk, delivery_to

spool = Spool(Path(sys.argv[1]), 1 << 28)
delivery = delivery_to(spool, int(sys.argv[2]))
for _ in range(40):
    print(spool.append(chunk), flush=True)
delivery.flush(float(sys.argv[3]))
delivery.close()
"""

LEARNER = """
import sys, time
from pathlib import Path
from tests.external.robot.test_delivery import Learner

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


HELLO = {"type": "HELLO", "protocol": PROTOCOL, "stream": "a", "first": 0}
CHUNK = {"type": "CHUNK", "sequence": 0, "data": b"x"}
REPORT = {"type": "REPORT", "paused": False, "stopped": False, "waiting": 0, "version": 0}


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ([CHUNK], "not what a robot says now"),
        ([REPORT], "not what a robot says now"),
        ([HELLO] * 2, "not what a robot says now"),
        ([HELLO | {"protocol": 9}], "protocol 9 and the server"),
        ([HELLO | {"stream": None}], "does not name its recording"),
        ([HELLO | {"stream": "../../etc"}], "does not name its recording"),
        ([HELLO | {"first": -1}], "which chunk it can send first"),
        ([HELLO | {"first": True}], "which chunk it can send first"),
        ([HELLO, {"type": "CHUNK"}], "a whole number"),
        ([HELLO, CHUNK | {"sequence": -1}], "sequence"),
        ([HELLO, REPORT | {"paused": 1}], "a report's paused"),
        ([HELLO, {"type": "REPORT"}], "a report's"),
    ],
)
def test_what_no_robot_says_is_refused(messages: list, fault: str, tmp_path: Path) -> None:
    with Inbox(tmp_path / "inbox") as inbox:
        session = session_with(inbox)
        with pytest.raises(MessageError, match=fault):
            for message in messages:
                list(session.answer(message))
        assert all(list(inbox.chunks(stream)) == [] for stream in inbox.streams())


def session_with(inbox: Inbox) -> RobotSession:
    return RobotSession(inbox, Bulletin({}), Roster(), None, (LOOPBACK, 1))


def test_an_acknowledgement_comes_after_the_chunk_is_there_and_again_for_a_repeated_one(
    tmp_path: Path,
) -> None:
    with Inbox(tmp_path / "inbox") as inbox:
        session = session_with(inbox)
        list(session.answer(HELLO))
        for _ in range(2):
            answers = session.answer(CHUNK)
            assert decode(next(answers)) == {"type": "ACK", "sequence": 0}
            assert list(inbox.chunks("a")) == [(0, b"x")]
            assert list(answers) == []


def test_the_newest_policy_comes_and_the_learner_hears_how_the_robot_is(
    spool: Spool, learner: Learner
) -> None:
    delivery = delivery_to(spool, learner.port)
    assert delivery.news.silence == float("inf") and delivery.news.take() is None
    learner.bulletin.tell({"updates": 7})
    for value in (1.0, 2.0):
        learner.bulletin.publish({"w": np.full(3, value, np.float32)})
    until(lambda: delivery.news.status == {"updates": 7})
    weights = delivery.news.take()
    assert weights is not None and (weights.version, weights.updates) == (2, 7)
    assert weights.tensors["w"].tolist() == [2.0] * 3 and 0 <= delivery.news.policy_age < 5.0
    assert delivery.news.take() is None and delivery.news.silence < 5.0
    delivery.report(paused=True)
    assert delivery.flush(10.0)
    (robot,) = learner.roster.robots()
    assert robot.connected and robot.paused and not robot.stopped
    delivery.close()
    until(lambda: not learner.roster.robots()[0].connected)


def test_after_a_restart_the_learners_policy_counts_although_its_version_is_lower(
    spool: Spool, learner: Learner
) -> None:
    for value in (1.0, 2.0, 3.0):
        learner.bulletin.publish({"w": np.full(1, value, np.float32)})
    delivery = delivery_to(spool, learner.port)
    until(lambda: delivery.news.silence < 5.0)
    taken = delivery.news.take()
    assert taken is not None and taken.version == 3
    learner.stop()
    learner.bulletin = Bulletin(learner.bulletin.welcome)
    learner.bulletin.publish({"w": np.full(1, 9.0, np.float32)})
    learner.start()
    got = []
    until(lambda: (w := delivery.news.take()) is not None and got.append(w) is None)
    assert got[0].version == 1 and got[0].tensors["w"].tolist() == [9.0]
    delivery.close()


def test_a_policy_that_does_not_fit_is_refused_with_the_reason(
    spool: Spool, learner: Learner
) -> None:
    def check(welcome: dict) -> None:
        raise RefusedError(f"the trunk is {welcome['trunk']}")

    delivery = delivery_to(spool, learner.port, check=check)
    spool.append(lambda _: chunk(0))
    until(lambda: delivery.status.refused)
    assert delivery.status.trouble == "the trunk is of this learner"
    assert delivery.status.waiting == 1 and learner.received() == []
    delivery.close()
