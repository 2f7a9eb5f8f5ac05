"""Brings what waits in a robot's spool to the learner, whatever the network does meanwhile."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from e2hil_rllib.errors import UserError
from e2hil_rllib.external.codec import Limits, MalformedMessage, decode, encode
from e2hil_rllib.external.framing import FrameReader, frame
from e2hil_rllib.external.robot_session import PROTOCOL
from e2hil_rllib.external.spool import Spool

logger = logging.getLogger(__name__)

_PIECE = 1 << 16  # bytes taken from the socket at once
_IDLE = 0.05  # how often it looks for new chunks [s]
_FIRST_RETRY, _LONGEST_RETRY = 0.2, 5.0  # after a connection was lost [s]
_ANSWERS = Limits(max_bytes=1 << 16, max_values=100, max_depth=4)
_JOIN_PATIENCE = 15.0  # [s]


@dataclass(frozen=True)
class DeliveryStatus:
    """How the delivery is doing.

    Attributes:
        connected: Whether the server has said welcome, and the connection stands.
        delivered: Chunks that the server has acknowledged since the start.
        waiting: Chunks in the spool.
        trouble: What keeps it from delivering, "" where nothing does.
    """

    connected: bool
    delivered: int
    waiting: int
    trouble: str


class Delivery:
    """Sends chunks in a thread of its own; who records never waits for the network.

    A chunk stays in the spool until the server has acknowledged it, so that a connection may break
    at any moment: the next one begins with the oldest chunk that waits. Several are on their way
    at once.

    Args:
        spool: What to deliver.
        host: The server's address.
        port: Where it listens.
        token: What it wants to hear; "" where it wants nothing.
        window: Chunks that may be on their way.
        patience: Without an acknowledgement for so long a connection counts as lost [s].
    """

    def __init__(
        self,
        spool: Spool,
        host: str,
        port: int,
        token: str = "",
        window: int = 16,
        patience: float = 10.0,
    ) -> None:
        self._spool = spool
        self._server = (host, port)
        self._token = token
        self._window = window
        self._patience = patience
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._connected, self._delivered, self._trouble = False, 0, ""
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
            return DeliveryStatus(self._connected, self._delivered, waiting, trouble)

    def flush(self, seconds: float) -> bool:
        """Waits until nothing waits any more, for so long at most [s]; says whether it came so."""
        end = time.monotonic() + seconds
        while self._spool.waiting():
            if time.monotonic() >= end:
                return False
            time.sleep(_IDLE)
        return True

    def close(self) -> None:
        """Stops; what waits stays in the spool. Harmless the second time."""
        self._stopping.set()
        self._thread.join(_JOIN_PATIENCE)

    def _run(self) -> None:
        retry = _FIRST_RETRY
        while not self._stopping.is_set():
            delivered = self._delivered
            try:
                with socket.create_connection(self._server, timeout=self._patience) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._converse(connection)
            except (OSError, MalformedMessage, UserError) as error:
                self._lose(str(error))
            except Exception as error:  # whatever it is, the robot has to know
                self._lose(f"a defect of the delivery: {error!r}")
                logger.exception("the delivery failed, and begins anew")
            retry = _FIRST_RETRY if self._delivered > delivered else min(2 * retry, _LONGEST_RETRY)
            self._stopping.wait(retry)

    def _converse(self, connection: socket.socket) -> None:
        """Delivers over one connection until it is lost, or all is to stop."""
        hello = {"type": "HELLO", "protocol": PROTOCOL, "stream": self._spool.stream}
        connection.sendall(frame(encode({**hello, "token": self._token})))
        answers = _Answers(connection)
        self._be_welcomed(answers)
        on_their_way: dict[int, float] = {}
        while not self._stopping.is_set():
            more = self._send(connection, on_their_way)
            for answer in answers.come(0.0 if more else _IDLE):
                sequence = answer.get("sequence")
                if answer.get("type") != "ACK" or sequence not in on_their_way:
                    raise MalformedMessage(f"the server answers {answer}, expected an ACK")
                self._spool.acknowledge(sequence)
                del on_their_way[sequence]
                with self._lock:
                    self._delivered += 1
            oldest = min(on_their_way.values(), default=time.monotonic())
            if time.monotonic() - oldest > self._patience:
                raise ConnectionError(f"no acknowledgement for {self._patience:g} s")

    def _be_welcomed(self, answers: _Answers) -> None:
        end = time.monotonic() + self._patience
        while time.monotonic() < end:
            for answer in answers.come(_IDLE):
                if answer.get("type") == "REFUSED":
                    raise ConnectionError(f"the server refuses: {answer.get('reason')}")
                if answer.get("type") != "WELCOME":
                    raise MalformedMessage(f"the server answers {answer}, expected a WELCOME")
                with self._lock:
                    self._connected, self._trouble = True, ""
                logger.info("connected to the learner at %s:%d", *self._server)
                return
            if self._stopping.is_set():
                return
        raise ConnectionError(f"no welcome within {self._patience:g} s")

    def _send(self, connection: socket.socket, on_their_way: dict[int, float]) -> bool:
        """Sends the next chunk if there is room for one; says whether there may be another."""
        if len(on_their_way) >= self._window:
            return False
        for sequence, _ in self._spool.waiting():
            if sequence not in on_their_way:
                chunk = {"type": "CHUNK", "sequence": sequence, "data": self._spool.read(sequence)}
                connection.settimeout(self._patience)
                connection.sendall(frame(encode(chunk)))
                on_their_way[sequence] = time.monotonic()
                return True
        return False

    def _lose(self, reason: str) -> None:
        with self._lock:
            if self._connected or reason != self._trouble:
                logger.warning("the learner at %s:%d is not to be had: %s", *self._server, reason)
            self._connected, self._trouble = False, reason


class _Answers:
    """What the server says, message by message."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = FrameReader(_ANSWERS.max_bytes)

    def come(self, patience: float) -> Iterator[dict[str, Any]]:
        """Gives the messages that come within so long [s].

        Raises:
            MalformedMessage: It says what makes no sense.
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
                raise MalformedMessage(f"the server says {answer!r}, expected a map")
            yield answer
