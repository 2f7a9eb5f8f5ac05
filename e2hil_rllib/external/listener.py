"""Listens for clients, and answers each of their messages in a thread of its connection."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from e2hil_rllib.errors import UserError
from e2hil_rllib.external.codec import Limits, MalformedMessage, decode
from e2hil_rllib.external.framing import FrameReader, frame

logger = logging.getLogger(__name__)

_PIECE = 1 << 16  # bytes taken from the socket at once
_POLL = 0.5  # how often a thread looks whether it should end [s]
_SEND_PATIENCE = 30.0  # for a client that does not read [s]
_JOIN_PATIENCE = 5.0  # [s]


class ListenError(UserError):
    """The server cannot listen where it should; the message says why and what to do."""


class Session(Protocol):
    """One client's side of the conversation."""

    def answer(self, message: dict[str, Any]) -> Iterable[bytes]:
        """Takes a message in, and gives the bodies to answer with.

        Raises:
            MalformedMessage: The message makes no sense; the connection is closed.
        """
        ...

    def end(self) -> None:
        """The connection is closed."""
        ...


class Listener:
    """Accepts clients until it is closed. A client that fails harms nobody else.

    What a client sends is decoded within limits and never unpickled. A message that makes no sense
    ends its connection, with the reason in the log.

    Args:
        host: Address to listen at.
        port: To listen at; 0 takes one that is free.
        open_session: Begins the conversation with a client, by its address.
        limits: Of each message.
        most_clients: Further ones are turned away.

    Raises:
        ListenError: The address cannot be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        open_session: Callable[[tuple[Any, ...]], Session],
        limits: Limits | None = None,
        most_clients: int = 8,
    ) -> None:
        self._open_session = open_session
        self._limits = limits or Limits()
        self._most_clients = most_clients
        self._stopping = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        try:
            self._socket = socket.create_server((host, port), reuse_port=False)
        except (OSError, OverflowError) as error:
            raise ListenError(
                f"The server cannot listen at {host}:{port}: {error}. Stop what listens there, or "
                "choose another port."
            ) from error
        self._socket.settimeout(_POLL)
        self._thread = threading.Thread(target=self._accept, name="listener", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    @property
    def clients(self) -> int:
        """How many are connected."""
        with self._lock:
            return len(self._connections)

    def check(self) -> None:
        """Makes sure that clients can connect.

        Raises:
            RuntimeError: The listener has been closed, or has failed.
        """
        if self._stopping.is_set() or not self._thread.is_alive():
            raise RuntimeError("nobody listens for clients any more")

    def close(self) -> None:
        """Ends all conversations; harmless the second time."""
        self._stopping.set()
        self._thread.join(_JOIN_PATIENCE)
        self._socket.close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections:
            thread.join(_JOIN_PATIENCE)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, address = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:  # e.g. out of descriptors: the next client may have more luck
                logger.warning("a client could not connect: %s", error)
                self._stopping.wait(_POLL)
                continue
            with self._lock:
                full = len(self._connections) >= self._most_clients
                if not full:
                    thread = threading.Thread(
                        target=self._converse, args=(connection, address), daemon=True
                    )
                    self._connections[thread] = connection
            if full:
                logger.warning("%s was turned away: %d are connected", address, self._most_clients)
                connection.close()
            else:
                thread.start()

    def _converse(self, connection: socket.socket, address: tuple[Any, ...]) -> None:
        """Serves one client to its end."""
        reason = "it has hung up"
        logger.info("%s has connected", address)
        try:
            with connection:
                session = self._open_session(address)
                try:
                    self._serve(connection, session)
                finally:
                    session.end()
        except (MalformedMessage, OSError) as error:
            reason = str(error)
        except Exception:
            reason = "the server has been stopped"
            if not self._stopping.is_set():
                reason = "the server's own fault"
                logger.exception("the conversation with %s failed", address)
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]
            logger.info("%s is gone: %s", address, reason)

    def _serve(self, connection: socket.socket, session: Session) -> None:
        reader = FrameReader(self._limits.max_bytes)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not self._stopping.is_set():
            connection.settimeout(_POLL)
            try:
                piece = connection.recv(_PIECE)
            except TimeoutError:
                continue
            if not piece:
                return
            for body in reader.feed(piece):
                message = decode(body, self._limits)
                if not isinstance(message, dict):
                    raise MalformedMessage(f"a message is a map, got a {type(message).__name__}")
                for answer in session.answer(message):
                    connection.settimeout(_SEND_PATIENCE)
                    connection.sendall(frame(answer))
