"""Clients come and go, and what one of them does wrong harms no other."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2hil_rllib.external.learner.listener import Listener, ListenError
from e2hil_rllib.external.protocol.codec import Limits, MessageError, decode, encode
from e2hil_rllib.external.protocol.framing import FrameReader, frame
from e2hil_rllib.external.protocol.secure import connect
from tests.patience import stretched, wait_until

pytestmark = pytest.mark.realtime

LOOPBACK = "127.0.0.1"


class Echo:
    """Answers every message with itself; fails where it is told to."""

    ended = 0

    def __init__(self, address: tuple[Any, ...]) -> None:
        assert address[0] == LOOPBACK

    def answer(self, message: dict[str, Any]) -> Iterator[bytes]:
        if message.get("type") == "fail":
            raise ZeroDivisionError("a defect")
        if message.get("type") == "nonsense":
            raise MessageError("that makes no sense")
        yield encode(message)

    def end(self) -> None:
        Echo.ended += 1


@pytest.fixture
def listener() -> Iterator[Listener]:
    Echo.ended = 0
    listener = Listener(LOOPBACK, 0, Echo, Limits(max_bytes=100_000), most_clients=3)
    yield listener
    listener.close()


class Client:
    def __init__(self, listener: Listener, patience: float = 5.0) -> None:
        self.socket = socket.create_connection(
            (LOOPBACK, listener.port), timeout=stretched(patience)
        )
        self.reader = FrameReader()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> Any:
        """The next message, None where the server has hung up."""
        while True:
            try:
                piece = self.socket.recv(1 << 16)
            except ConnectionError:
                return None
            if not piece:
                return None
            for body in self.reader.feed(piece):
                return decode(body)

    def says(self, message: Any) -> Any:
        self.send(frame(encode(message)))
        return self.receive()


def until(condition) -> None:
    wait_until(condition, 10.0)


def test_messages_are_answered_however_they_are_cut(listener: Listener) -> None:
    client = Client(listener)
    message = {"type": "hello", "data": np.arange(5, dtype=np.float32)}
    for byte in frame(encode(message)):
        client.send(bytes([byte]))
    answer = client.receive()
    assert answer["type"] == "hello" and answer["data"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "expected a length of eight digits"),
        (b"99999999", "at most 100000 are taken"),
        (frame(b"\xc1"), ""),
        (frame(encode([1, 2])), "a message is a map, got a list"),
        (frame(encode({"type": "nonsense"})), "that makes no sense"),
        (frame(encode({"type": "fail"})), "the server's own fault"),
    ],
)
def test_a_client_that_sends_nonsense_is_cut_off_and_nobody_else(
    listener: Listener, data: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = Client(listener), Client(listener)
    assert good.says({"type": "before"}) == {"type": "before"}
    with caplog.at_level(logging.INFO):
        bad.send(data)
        assert bad.receive() is None
        until(lambda: listener.clients == 1)
        until(lambda: reason in caplog.text)  # it is logged after the client has been cut off
    assert good.says({"type": "after"}) == {"type": "after"}
    listener.check()
    assert Echo.ended == 1
    assert Client(listener).says({"type": "new"}) == {"type": "new"}


def test_a_conversation_that_cannot_begin_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def refuses(address: tuple[Any, ...]) -> Echo:
        raise ZeroDivisionError("a defect")

    listener = Listener(LOOPBACK, 0, refuses)
    try:
        assert Client(listener).receive() is None
        until(lambda: listener.clients == 0)
        listener.check()
    finally:
        listener.close()
    assert "ZeroDivisionError" in caplog.text


def test_half_a_message_and_a_client_that_vanishes_leave_nothing(listener: Listener) -> None:
    for _ in range(5):
        client = Client(listener)
        client.send(frame(encode({"type": "x", "data": b"y" * 1000}))[:500])
        client.socket.close()
    until(lambda: Echo.ended == 5)
    assert listener.clients == 0


def test_more_clients_than_allowed_are_turned_away(listener: Listener) -> None:
    clients = [Client(listener) for _ in range(3)]
    assert all(client.says({"type": "a"}) for client in clients)
    assert Client(listener).receive() is None
    clients.pop().socket.close()
    until(lambda: listener.clients == 2)
    assert Client(listener).says({"type": "b"}) == {"type": "b"}


def test_random_bytes_never_end_it(listener: Listener) -> None:
    rng, good = np.random.default_rng(0), Client(listener)
    for _ in range(300):
        client = Client(listener)
        body = rng.bytes(int(rng.integers(0, 200)))
        client.send(frame(body) if rng.random() < 0.7 else body)
        client.socket.close()
    assert good.says({"type": "still there"}) == {"type": "still there"}
    until(lambda: listener.clients == 1)
    listener.check()


def test_closing_ends_everything_and_frees_the_port(listener: Listener) -> None:
    client = Client(listener)
    client.says({"type": "a"})
    port = listener.port
    listener.close()
    assert client.receive() is None
    with pytest.raises(RuntimeError, match="nobody listens"):
        listener.check()
    listener.close()
    again = Listener(LOOPBACK, port, Echo)
    again.close()


def test_a_port_in_use_is_named(listener: Listener) -> None:
    with pytest.raises(ListenError, match=rf"cannot listen at 127.0.0.1:{listener.port}"):
        Listener(LOOPBACK, listener.port, Echo)
    with pytest.raises(ListenError, match="70000"):
        Listener(LOOPBACK, 70_000, Echo)


def test_descriptors_are_given_back(listener: Listener) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    for _ in range(50):
        client = Client(listener)
        client.says({"type": "a"})
        client.socket.close()
    until(lambda: listener.clients == 0)
    until(lambda: open_files() <= before + 1)


class Guarded:
    """Wants to hear a password before anything else, then echoes."""

    def __init__(self, address: tuple[Any, ...]) -> None:
        self.welcomed = False

    def answer(self, message: dict[str, Any]) -> Iterator[bytes]:
        if not self.welcomed and message.get("type") == "password":
            self.welcomed = True
        elif not self.welcomed and message.get("type") != "knock":
            raise MessageError("who are you")
        yield encode(message)

    def end(self) -> None:
        pass


PASSWORD = {"type": "password"}


@contextlib.contextmanager
def listening(session: Any = Guarded, **options: Any) -> Iterator[Listener]:
    listener = Listener(LOOPBACK, 0, session, **options)
    try:
        yield listener
    finally:
        listener.close()


def test_it_listens_at_an_address_of_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    listener = Listener("::1", 0, Guarded)
    with connect("::1", listener.port, None, timeout=5.0) as client:
        client.sendall(frame(encode(PASSWORD)))
        assert client.recv(1000) == frame(encode(PASSWORD))
    listener.close()
