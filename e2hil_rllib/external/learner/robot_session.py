"""A robot's conversation, on the server's side: chunks one way, the policy the other."""

from __future__ import annotations

from collections.abc import Iterator
from reprlib import repr as short
from typing import Any

from e2hil_rllib.external.learner.bulletin import Bulletin
from e2hil_rllib.external.learner.inbox import Inbox
from e2hil_rllib.external.learner.roster import Roster
from e2hil_rllib.external.protocol import PROTOCOL
from e2hil_rllib.external.protocol.chunk import STREAM
from e2hil_rllib.external.protocol.codec import MessageError, encode
from e2hil_rllib.external.protocol.secure import tokens_agree

_REPORT: dict[str, type] = {"paused": bool, "stopped": bool, "waiting": int, "version": int}


class RobotSession:
    """One robot's conversation; it implements `e2hil_rllib.external.learner.listener.Session`.

    It begins with HELLO (`protocol`, `stream`, `token`, and `first`, the oldest chunk that it can
    send), answered by WELCOME (`spaces`, `trunk`), or by REFUSED with a `reason`. Then
        each CHUNK (`sequence`, `data`) is answered by ACK (`sequence`) as soon as it is durable
        here, also where it has come before;
        each REPORT (`paused`, `stopped`, `waiting`, `version` of its policy) is answered by
        WEIGHTS, where the learner has another policy than that, and STATUS.

    Args:
        inbox: Takes the chunks.
        bulletin: What robots are told.
        roster: Takes their reports.
        token: What a robot has to know; None where anybody may deliver, as on loopback.
        address: The robot's.
    """

    def __init__(
        self,
        inbox: Inbox,
        bulletin: Bulletin,
        roster: Roster,
        token: str | None,
        address: tuple[Any, ...],
    ) -> None:
        self._inbox, self._bulletin, self._roster = inbox, bulletin, roster
        self._token = token
        self._address = address
        self._stream: str | None = None
        self._connection = 0

    @property
    def welcomed(self) -> bool:
        """Whether the robot has shown that it may deliver."""
        return self._stream is not None

    def answer(self, message: dict[str, Any]) -> Iterator[bytes]:
        """Takes a message in, and gives the bodies to answer with.

        Raises:
            MessageError: The message is none of a robot's, or the robot was refused.
            WriteError: The disk is full: nothing is acknowledged, and the robot keeps the chunk.
        """
        kind = message.get("type")
        if not isinstance(kind, str):
            raise MessageError(f"a message of type {short(kind)}, expected a text")
        if kind == "HELLO" and self._stream is None:
            yield from self._welcome(message)
        elif kind == "CHUNK" and self._stream is not None:
            yield self._receive(self._stream, message)
        elif kind == "REPORT" and self._stream is not None:
            yield from self._inform(self._stream, message)
        else:
            raise MessageError(f"{short(kind)} is not what a robot says now")

    def end(self) -> None:
        """The robot is gone; what it has delivered stays."""
        if self._stream is not None:
            self._roster.leave(self._stream, self._connection)

    def _welcome(self, hello: dict[str, Any]) -> Iterator[bytes]:
        fault = self._fault_of(hello)
        if fault:
            yield encode({"type": "REFUSED", "reason": fault})
            raise MessageError(f"refused: {fault}")
        self._inbox.begin(hello["stream"], hello["first"])
        self._stream = hello["stream"]
        self._connection = self._roster.enter(hello["stream"])
        yield encode({"type": "WELCOME", **self._bulletin.welcome})

    def _receive(self, stream: str, message: dict[str, Any]) -> bytes:
        sequence, data = message.get("sequence"), message.get("data")
        if type(sequence) is not int or not isinstance(data, bytes):
            raise MessageError("a chunk needs a whole number as sequence, and bytes as data")
        try:
            self._inbox.receive(stream, sequence, data)
        except ValueError as error:
            raise MessageError(str(error)) from error
        return encode({"type": "ACK", "sequence": sequence})

    def _inform(self, stream: str, message: dict[str, Any]) -> Iterator[bytes]:
        for name, expected in _REPORT.items():
            if type(message.get(name)) is not expected:
                raise MessageError(f"a report's {name} is {short(message.get(name))}")
        self._roster.report(stream, **{name: message[name] for name in _REPORT})
        weights = self._bulletin.weights_unless(message["version"])
        if weights is not None:
            yield weights
        yield self._bulletin.status()

    def _fault_of(self, hello: dict[str, Any]) -> str:
        """Why a robot may not deliver, "" where it may."""
        protocol = hello.get("protocol")
        if type(protocol) is not int or protocol != PROTOCOL:
            return (
                f"the robot speaks protocol {short(protocol)} and the server "
                f"{PROTOCOL}: install the same version on both"
            )
        token = hello.get("token")
        given = token if isinstance(token, str) else ""
        if self._token is not None and not tokens_agree(given, self._token):
            return "the token is not the server's: give both the same one"
        stream = hello.get("stream")
        if not isinstance(stream, str) or not STREAM.fullmatch(stream):
            return "the robot does not name its recording"
        first = hello.get("first")
        if type(first) is not int or not 0 <= first < 2**63:
            return "the robot does not say which chunk it can send first"
        return ""
