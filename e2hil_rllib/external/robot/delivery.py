"""Brings what waits in a robot's spool to the learner, whatever the network does meanwhile."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Any

from e2hil_rllib.errors import UserError
from e2hil_rllib.external.protocol import PROTOCOL
from e2hil_rllib.external.protocol.codec import Limits, MessageError, decode, encode
from e2hil_rllib.external.protocol.framing import FrameReader, frame
from e2hil_rllib.external.protocol.secure import connect
from e2hil_rllib.external.protocol.weights import Weights
from e2hil_rllib.external.robot.news import News
from e2hil_rllib.external.robot.spool import Spool

logger = logging.getLogger(__name__)

_PIECE = 1 << 16  # bytes taken from the socket at once
_IDLE = 0.05  # how often it looks for new chunks [s]
_REPORTS = 0.25  # from an answer to a report to the next report [s]
_RECONNECT = 3.0  # for the last report, where no connection stands [s]
_FIRST_RETRY, _LONGEST_RETRY = 0.2, 5.0  # after a connection was lost [s]
_ANSWERS = Limits(max_values=100_000, max_depth=10)
_JOIN_PATIENCE = 15.0  # [s]


class RefusedError(UserError):
    """The learner does not take this robot, or its policy does not fit; the message says why."""


@dataclass(frozen=True)
class DeliveryStatus:
    """How the delivery is doing.

    Attributes:
        connected: Whether the server has said welcome, and the connection stands.
        delivered: Chunks that the server has acknowledged since the start.
        waiting: Chunks in the spool.
        trouble: What keeps it from delivering, "" where nothing does.
        refused: Whether that will not go by itself: learner and robot do not fit together.
    """

    connected: bool
    delivered: int
    waiting: int
    trouble: str
    refused: bool


@dataclass(frozen=True)
class Destination:
    """Where chunks are brought.

    Attributes:
        host: The server's address.
        port: Where it listens.
        token: What it wants to hear; "" where it wants nothing.
        tls: What its certificate is checked with; None for no encryption.
    """

    host: str
    port: int
    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None


class Delivery:
    """Sends chunks in a thread of its own; who records never waits for the network.

    A chunk stays in the spool until the server has acknowledged it, so that a connection may break
    at any moment: the next one begins with the oldest chunk that waits. Several are on their way
    at once. The same thread tells the learner how the robot is doing and takes its policies in.

    Args:
        spool: What to deliver.
        destination: Where to.
        check: Looks at what the server says of its policy in its welcome (`spaces`, `trunk`), and
            raises `RefusedError` if that does not fit.
        window: Chunks that may be on their way.
        patience: Without an answer for so long a connection counts as lost [s].
    """

    def __init__(
        self,
        spool: Spool,
        destination: Destination,
        check: Callable[[dict[str, Any]], None] = lambda welcome: None,
        window: int = 16,
        patience: float = 10.0,
    ) -> None:
        self._spool, self._check = spool, check
        self._destination = destination
        self._window, self._patience = window, patience
        #: What the learner has said.
        self.news = News()
        self._report: dict[str, Any] = {"paused": False, "stopped": False}
        self._reports, self._told = 1, 0  # number of the present report, and of the answered one
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._connected, self._trouble, self._refused = False, "", False
        self._welcomed = self._delivered = 0
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    @property
    def status(self) -> DeliveryStatus:
        """How it is doing."""
        waiting = len(self._spool.waiting())
        with self._lock:
            trouble = self._trouble
            if not self._thread.is_alive() and not self._stopping.is_set():
                trouble = trouble or "its thread has ended"
            return DeliveryStatus(self._connected, self._delivered, waiting, trouble, self._refused)

    def report(self, *, paused: bool, stopped: bool = False) -> None:
        """What the learner is told of the robot from now on, again and again.

        Args:
            paused: The person there has paused it.
            stopped: The person there has ended the session.
        """
        with self._lock:
            report = {"paused": paused, "stopped": stopped}
            self._reports += report != self._report
            self._report = report

    def flush(self, seconds: float) -> bool:
        """Waits until the learner has every chunk and the newest report.

        Where there is no learner and no chunk waits, it gives up after three seconds.

        Args:
            seconds: How long at most [s].

        Returns:
            Whether it has every chunk.
        """
        end = time.monotonic() + seconds
        hopeless = time.monotonic() + _RECONNECT
        while time.monotonic() < end:
            with self._lock:
                told = self._told == self._reports
                told |= not self._connected and time.monotonic() > hopeless
            if told and not self._spool.waiting():
                return True
            time.sleep(_IDLE)
        return not self._spool.waiting()

    def close(self) -> None:
        """Stops; what waits stays in the spool. Harmless the second time."""
        self._stopping.set()
        self._thread.join(_JOIN_PATIENCE)

    def _run(self) -> None:
        retry = _FIRST_RETRY
        where = self._destination
        while not self._stopping.is_set():
            welcomed = self._welcomed
            try:
                with connect(where.host, where.port, where.tls, self._patience) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._converse(connection)
            except RefusedError as error:
                self._lose(str(error), refused=True)
            except (OSError, MessageError, UserError) as error:
                self._lose(str(error))
            except Exception as error:  # whatever it is, the robot has to know
                self._lose(f"a defect of the delivery: {error!r}")
                logger.exception("the delivery failed, and begins anew")
            came = self._welcomed > welcomed
            retry = _FIRST_RETRY if came else min(2 * retry, _LONGEST_RETRY)
            self._stopping.wait(retry)

    def _converse(self, connection: socket.socket) -> None:
        """Delivers over one connection until it is lost, or all is to stop."""
        hello = {
            "type": "HELLO",
            "protocol": PROTOCOL,
            "stream": self._spool.stream,
            "first": self._spool.first,
            "token": self._destination.token,
        }
        connection.sendall(frame(encode(hello)))
        answers = _Answers(connection)
        if not self._be_welcomed(answers):
            return
        talk = _Talk()
        while not self._stopping.is_set():
            more = self._send(connection, talk)
            self._send_report(connection, talk)
            for answer in answers.come(0.0 if more else _IDLE):
                self._hear(answer, talk)
            if time.monotonic() - talk.oldest() > self._patience:
                raise ConnectionError(f"no answer for {self._patience:g} s")

    def _be_welcomed(self, answers: _Answers) -> bool:
        end = time.monotonic() + self._patience
        while time.monotonic() < end:
            for answer in answers.come(_IDLE):
                if answer.get("type") == "REFUSED":
                    raise RefusedError(f"The learner refuses: {str(answer.get('reason'))[:500]}.")
                if answer.get("type") != "WELCOME":
                    raise MessageError(f"the server answers {short(answer)}, not a WELCOME")
                self._check(answer)
                with self._lock:
                    self._connected, self._trouble, self._refused = True, "", False
                    self._welcomed += 1
                where = self._destination
                logger.info("connected to the learner at %s:%d", where.host, where.port)
                return True
            if self._stopping.is_set():
                return False
        raise ConnectionError(f"no welcome within {self._patience:g} s")

    def _hear(self, answer: dict[str, Any], talk: _Talk) -> None:
        kind, sequence = answer.get("type"), answer.get("sequence")
        if kind == "ACK" and type(sequence) is int and sequence in talk.chunks:
            self._spool.acknowledge(sequence)
            del talk.chunks[sequence]
            with self._lock:
                self._delivered += 1
        elif kind == "WEIGHTS":
            weights = Weights.from_message(answer)
            talk.version = weights.version
            self.news.receive(weights)
        elif kind == "STATUS" and isinstance(answer.get("status"), dict):
            talk.asked, talk.next_report = None, time.monotonic() + _REPORTS
            with self._lock:
                self._told = talk.report
            self.news.hear(answer["status"])
        else:
            raise MessageError(f"the server answers {short(answer)}")

    def _send(self, connection: socket.socket, talk: _Talk) -> bool:
        """Sends the next chunk if there is room for one; says whether there may be another."""
        if len(talk.chunks) >= self._window:
            return False
        for sequence, _ in self._spool.waiting():
            if sequence not in talk.chunks:
                chunk = {"type": "CHUNK", "sequence": sequence, "data": self._spool.read(sequence)}
                connection.settimeout(self._patience)
                connection.sendall(frame(encode(chunk)))
                talk.chunks[sequence] = time.monotonic()
                return True
        return False

    def _send_report(self, connection: socket.socket, talk: _Talk) -> None:
        now = time.monotonic()
        if talk.asked is not None or now < talk.next_report:
            return
        with self._lock:
            report, talk.report = dict(self._report), self._reports
        waiting = len(self._spool.waiting())
        message = {"type": "REPORT", "waiting": waiting, "version": talk.version, **report}
        connection.settimeout(self._patience)
        connection.sendall(frame(encode(message)))
        talk.asked = now

    def _lose(self, reason: str, refused: bool = False) -> None:
        with self._lock:
            if self._connected or reason != self._trouble:
                # No warning: whoever waits for the learner says so, and says it once.
                where = self._destination
                logger.info("no learner at %s:%d: %s", where.host, where.port, reason)
            self._connected, self._trouble, self._refused = False, reason, refused


@dataclass
class _Talk:
    """What is on its way over one connection."""

    chunks: dict[int, float] = field(default_factory=dict)
    """When each of the chunks was sent that are not acknowledged yet."""
    asked: float | None = None
    """When the report was sent that is not answered yet."""
    next_report: float = 0.0
    report: int = 0
    """Number of the report that was sent last."""
    version: int = 0
    """Of the newest policy that has come over this connection."""

    def oldest(self) -> float:
        """When that was sent which has waited longest for an answer; now if there is nothing."""
        times = [*self.chunks.values(), *([] if self.asked is None else [self.asked])]
        return min(times, default=time.monotonic())


class _Answers:
    """What the server says, message by message."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = FrameReader(_ANSWERS.max_bytes)

    def come(self, patience: float) -> Iterator[dict[str, Any]]:
        """Gives the messages that come within so long [s].

        Raises:
            MessageError: It says what makes no sense.
            OSError: The connection is lost.
        """
        self._connection.settimeout(max(patience, 0.001))
        try:
            piece = self._connection.recv(_PIECE)
        except TimeoutError:
            return
        if not piece:
            raise ConnectionError("the server has hung up")
        for body in self._reader.feed(piece):
            answer = decode(body, _ANSWERS)
            if not isinstance(answer, dict):
                raise MessageError(f"the server says {short(answer)}, expected a map")
            yield answer
