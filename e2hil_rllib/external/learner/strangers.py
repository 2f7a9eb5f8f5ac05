"""What a server does with a connection before it knows its client."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field

from e2hil_rllib.external.protocol.codec import Limits, MessageError
from e2hil_rllib.external.protocol.framing import HEADER_BYTES, FrameReader
from e2hil_rllib.external.protocol.secure import PLAIN_TO_TLS

_PIECE = 1 << 16  # bytes taken from the socket at once
_TLS_HANDSHAKE = b"\x16"  # what a client that speaks TLS begins with
_KEEP_ALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}  # [s], [s], tries


@dataclass(frozen=True)
class Strangers:
    """What a connection may do before it has said anything valid.

    Attributes:
        patience: From its acceptance to its first valid message, the handshake of TLS included [s].
        limits: Of a message to a session that tells whether its client is welcome.
        most: How many there may be at once.
        grace: One that is younger is never sent away for another that waits to come in [s].
    """

    patience: float = 10.0
    limits: Limits = field(
        default_factory=lambda: Limits(
            max_bytes=1 << 16, max_values=1000, max_depth=8, max_text=1 << 12
        )
    )
    most: int = 16
    grace: float = 0.5

    def __post_init__(self) -> None:
        if not (self.patience > 0 and self.most >= 1 and self.grace >= 0):
            raise ValueError(f"{self} allows no client to begin")


def set_up(connection: socket.socket) -> None:
    """Lets answers leave at once, and a client whose machine has vanished be noticed in a minute.

    Raises:
        OSError: The connection is lost already.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def shake_hands(connection: ssl.SSLSocket, end: float) -> None:
    """Begins TLS as the server; tells a client that speaks none.

    Args:
        connection: A new one.
        end: When the time for it is over, by `time.monotonic`.

    Raises:
        MessageError: The client speaks no TLS, or not in time.
        OSError: The connection is lost, or client and server do not agree.
    """
    try:
        connection.settimeout(_left(end))
        # The methods of the plain socket: there is no TLS yet, and perhaps there never will be.
        first = socket.socket.recv(connection, 1, socket.MSG_PEEK)
        if first and first != _TLS_HANDSHAKE:
            socket.socket.recv(connection, _PIECE)  # what is left unread would undo the answer
            socket.socket.sendall(connection, PLAIN_TO_TLS)
            raise MessageError("it does not speak TLS, which this server wants")
        connection.settimeout(_left(end))
        connection.do_handshake()
    except TimeoutError as error:
        raise MessageError("no TLS handshake in the time for it") from error
    except ssl.SSLEOFError as error:
        raise ConnectionError("it has hung up in the TLS handshake") from error


def receive_body(connection: socket.socket, limits: Limits, end: float) -> bytes | None:
    """Takes in the body of one message, and not a byte of what follows it.

    Args:
        connection: To read from.
        limits: The body may be as long as they say.
        end: When the time for it is over, by `time.monotonic`.

    Returns:
        The body; None if the client hangs up.

    Raises:
        MessageError: It is no message, too long, or not whole in time.
        OSError: The connection is lost.
    """
    reader, header = FrameReader(limits.max_bytes), b""
    while True:
        length = int(header) if len(header) == HEADER_BYTES else 0
        missing = HEADER_BYTES + length - reader.pending_bytes
        try:
            connection.settimeout(_left(end))
            piece = connection.recv(min(missing, _PIECE))
        except TimeoutError as error:
            raise MessageError("no valid message in the time for it") from error
        if not piece:
            return None
        if not header and piece.startswith(_TLS_HANDSHAKE):
            raise MessageError("it speaks TLS, and this server has no certificate")
        for body in reader.feed(piece):
            return body
        header = (header + piece)[:HEADER_BYTES]


def _left(end: float) -> float:
    """What is left of the time [s]."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
