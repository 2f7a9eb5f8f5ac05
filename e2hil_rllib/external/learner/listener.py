"""Listens for clients, and answers each of their messages in a thread of its connection."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

from e2hil_rllib.errors import UserError
from e2hil_rllib.external.learner.connections import Connections
from e2hil_rllib.external.learner.strangers import Strangers, receive_body, set_up, shake_hands
from e2hil_rllib.external.protocol.codec import Limits, MessageError, decode
from e2hil_rllib.external.protocol.framing import FrameReader, frame
from e2hil_rllib.external.protocol.secure import tls_fault

logger = logging.getLogger(__name__)

_PIECE = 1 << 16  # bytes taken from the socket at once
_POLL = 0.5  # how often a connection's thread looks whether it should end [s]
_ACCEPT_POLL = 0.1  # and the one that waits for connections [s]
_SEND_PATIENCE = 30.0  # for a client that does not read [s]
_JOIN_PATIENCE = 5.0  # [s]
_LONGEST_REASON = 300  # in the log [characters]


class ListenError(UserError):
    """The server cannot listen where it should; the message says why and what to do."""


class Session(Protocol):
    """One client's side of the conversation."""

    def answer(self, message: dict[str, Any]) -> Iterable[bytes]:
        """Takes a message in, and gives the bodies to answer with.

        Raises:
            MessageError: The message makes no sense; the connection is closed.
        """
        ...

    def end(self) -> None:
        """The connection is closed."""
        ...


@runtime_checkable
class GuardedSession(Session, Protocol):
    """A session that tells whether its client has shown that it may talk."""

    @property
    def welcomed(self) -> bool:
        """Whether it has; until then its messages are held to narrow limits."""
        ...


class Listener:
    """Accepts clients until it is closed. A client that fails harms nobody else.

    What a client sends is decoded within limits and never unpickled. A message that makes no sense
    ends its connection, with the reason in the log. So does silence at the beginning: a connection
    is a stranger until its first message was taken, or until its session, if that is a
    `GuardedSession`, has welcomed it.

    Args:
        host: Address to listen at.
        port: To listen at; 0 takes one that is free.
        open_session: Begins the conversation with a client, by its address.
        limits: Of each message.
        most_clients: Further ones are turned away.
        tls: How to speak TLS, see `secure.server_context`; None for no encryption.
        strangers: What a connection may do before it is a client.

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
        tls: ssl.SSLContext | None = None,
        strangers: Strangers | None = None,
    ) -> None:
        self._open_session = open_session
        self._limits = limits or Limits()
        self._most_clients = most_clients
        self._tls = tls
        self._strangers = strangers or Strangers()
        self._stopping = threading.Event()
        self._connections = Connections(most_clients, self._strangers)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, reuse_port=False)
        except (OSError, OverflowError) as error:
            raise ListenError(
                f"The server cannot listen at {host}:{port}: {error}. Stop what listens there, or "
                "choose another port."
            ) from error
        self._socket.settimeout(_ACCEPT_POLL)
        self._thread = threading.Thread(target=self._accept, name="listener", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    @property
    def clients(self) -> int:
        """How many are connected, strangers among them."""
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
        self._connections.end(_JOIN_PATIENCE)

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
            if self._connections.is_full:
                logger.warning("%s was turned away: %d are connected", address, self._most_clients)
                connection.close()
            else:
                self._take_in(connection, address)

    def _take_in(self, connection: socket.socket, address: tuple[Any, ...]) -> None:
        """Begins to serve a stranger, as soon as there is room for one."""
        while not self._connections.make_room(_ACCEPT_POLL):
            if self._stopping.is_set():
                connection.close()
                return
        logger.info("%s has connected", address)
        try:
            set_up(connection)
            if self._tls is not None:
                connection = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
        except OSError as error:
            logger.info("%s is gone: %s", address, error)
            connection.close()
            return
        thread = threading.Thread(target=self._converse, args=(connection, address), daemon=True)
        self._connections.enter(thread, connection)
        try:
            thread.start()
        except RuntimeError as error:  # out of threads or memory: the others go on
            logger.warning("%s is gone: %s", address, error)
            self._connections.leave(thread)
            connection.close()

    def _converse(self, connection: socket.socket, address: tuple[Any, ...]) -> None:
        """Serves one client to its end."""
        reason = "it has hung up"
        try:
            with connection:
                end = time.monotonic() + self._strangers.patience
                if isinstance(connection, ssl.SSLSocket):
                    shake_hands(connection, end)
                session = self._open_session(address)
                try:
                    if self._greet(connection, session, end):
                        self._serve(connection, session)
                finally:
                    session.end()
        except ssl.SSLError as error:
            reason = tls_fault(error)
        except (MessageError, OSError) as error:
            reason = str(error)
        except Exception:
            reason = "the server has been stopped"
            if not self._stopping.is_set():
                reason = "the server's own fault"
                logger.exception("the conversation with %s failed", address)
        finally:
            reason = self._connections.leave(threading.current_thread()) or reason
            logger.info("%s is gone: %s", address, reason[:_LONGEST_REASON])

    def _greet(self, connection: socket.socket, session: Session, end: float) -> bool:
        """Serves a stranger until it is a client; says whether it has become one."""
        guard = session if isinstance(session, GuardedSession) else None
        limits = self._limits if guard is None else self._strangers.limits
        while (body := receive_body(connection, limits, end)) is not None:
            message = _message(body, limits)
            if guard is None:
                self._recognize()
            for answer in session.answer(message):
                if guard is not None and guard.welcomed:
                    self._recognize()  # before its client hears that it is welcome
                _send(connection, answer)
            if guard is None:
                return True
            if guard.welcomed:
                self._recognize()
                return True
        return False

    def _recognize(self) -> None:
        if not self._connections.recognize(threading.current_thread()):
            raise ConnectionError(f"turned away: {self._most_clients} are connected")

    def _serve(self, connection: socket.socket, session: Session) -> None:
        reader = FrameReader(self._limits.max_bytes)
        while not self._stopping.is_set():
            connection.settimeout(_POLL)
            try:
                piece = connection.recv(_PIECE)
            except TimeoutError:
                continue
            if not piece:
                return
            for body in reader.feed(piece):
                for answer in session.answer(_message(body, self._limits)):
                    _send(connection, answer)


def _message(body: bytes, limits: Limits) -> dict[str, Any]:
    message = decode(body, limits)
    if not isinstance(message, dict):
        raise MessageError(f"a message is a map, got a {type(message).__name__}")
    return message


def _send(connection: socket.socket, answer: bytes) -> None:
    connection.settimeout(_SEND_PATIENCE)
    connection.sendall(frame(answer))
