"""A robot's deliveries, on the server's side: each chunk is acknowledged once it is on the disk."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any

from e2hil_rllib.external.codec import MalformedMessage, encode
from e2hil_rllib.external.inbox import Inbox

PROTOCOL = 1
"""What robot and server have to agree on."""

WELCOME = encode({"type": "WELCOME"})


class RobotSession:
    """One robot's conversation; it implements `e2hil_rllib.external.listener.Session`.

    It begins with HELLO (`protocol`, `stream`, `token`), answered by WELCOME, or by REFUSED with
    a `reason`. Then each CHUNK (`sequence`, `data`) is answered by ACK (`sequence`) as soon as it
    is durable here, also where it has come before.

    Args:
        inbox: Takes the chunks.
        token: What a robot has to know; None where anybody may deliver, as on loopback.
        address: The robot's.
    """

    def __init__(self, inbox: Inbox, token: str | None, address: tuple[Any, ...]) -> None:
        self._inbox = inbox
        self._token = token
        self._address = address
        self._stream: str | None = None

    def answer(self, message: dict[str, Any]) -> Iterator[bytes]:
        """Takes a message in, and gives the bodies to answer with.

        Raises:
            MalformedMessage: The message is none of a robot's, or the robot was refused.
            WriteError: The disk is full: nothing is acknowledged, and the robot keeps the chunk.
        """
        kind = message.get("type")
        if kind == "HELLO" and self._stream is None:
            fault = self._fault_of(message)
            if fault:
                yield encode({"type": "REFUSED", "reason": fault})
                raise MalformedMessage(f"refused: {fault}")
            self._stream = message["stream"]
            yield WELCOME
        elif kind == "CHUNK" and self._stream is not None:
            sequence, data = message.get("sequence"), message.get("data")
            if type(sequence) is not int or not isinstance(data, bytes):
                raise MalformedMessage(
                    "a chunk needs a whole number as sequence, and bytes as data"
                )
            try:
                self._inbox.receive(self._stream, sequence, data)
            except ValueError as error:
                raise MalformedMessage(str(error)) from error
            yield encode({"type": "ACK", "sequence": sequence})
        else:
            raise MalformedMessage(f"{kind!r} is not what a robot says now")

    def end(self) -> None:
        """Nothing is kept of a robot but its chunks."""

    def _fault_of(self, hello: dict[str, Any]) -> str:
        """Why a robot may not deliver, "" where it may."""
        if hello.get("protocol") != PROTOCOL:
            return (
                f"the robot speaks protocol {hello.get('protocol')!r} and the server {PROTOCOL}: "
                "install the same version on both"
            )
        token = hello.get("token")
        given = token if isinstance(token, str) else ""
        if self._token is not None and not hmac.compare_digest(
            given.encode(), self._token.encode()
        ):
            return "the token is not the server's: give both the same one"
        if not isinstance(hello.get("stream"), str):
            return "the robot does not name its recording"
        return ""
