"""A server that speaks TLS serves only those who do; what goes wrong is said in words."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from e2hil_rllib.external.learner.listener import Listener
from e2hil_rllib.external.learner.strangers import Strangers
from e2hil_rllib.external.protocol.codec import encode
from e2hil_rllib.external.protocol.framing import FrameReader, frame
from e2hil_rllib.external.protocol.secure import client_context, connect, server_context
from tests.external.certificates import Pair, make_pair
from tests.external.learner.test_listener import (
    LOOPBACK,
    PASSWORD,
    Client,
    Guarded,
    listening,
    until,
)
from tests.patience import stretched

pytestmark = pytest.mark.realtime


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("certificates"), LOOPBACK)


@pytest.fixture
def secured(pair: Pair) -> Iterator[Listener]:
    tls = server_context(pair.certificate, pair.key)
    with listening(tls=tls, strangers=Strangers(patience=0.6)) as listener:
        yield listener


class TLSClient(Client):
    def __init__(self, listener: Listener, authority: Path, host: str = LOOPBACK) -> None:
        context = client_context(authority)
        self.socket = connect(host, listener.port, context, timeout=stretched(5.0))
        self.reader = FrameReader()


def test_clients_are_served_over_tls_for_longer_than_they_may_be_silent_at_first(
    secured: Listener, pair: Pair
) -> None:
    clients = [TLSClient(secured, pair.authority) for _ in range(3)]
    large = {"type": "x", "data": np.random.default_rng(0).bytes(1_000_000)}
    for client in clients:
        assert client.says(PASSWORD) == PASSWORD
    time.sleep(0.8)
    for client in clients:
        assert client.says(large) == large


def test_a_robot_without_tls_hears_that_it_needs_it(
    secured: Listener, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    good = TLSClient(secured, pair.authority)
    assert good.says(PASSWORD) == PASSWORD
    with (
        caplog.at_level(logging.INFO),
        connect(LOOPBACK, secured.port, None, timeout=stretched(5.0)) as plain,
    ):
        plain.sendall(frame(encode(PASSWORD)))
        with pytest.raises(ConnectionError, match="the server wants TLS"):
            plain.recv(1000)
        until(lambda: secured.clients == 1)
    assert "does not speak TLS, which this server wants" in caplog.text
    assert good.says(PASSWORD) == PASSWORD


def test_a_robot_with_tls_hears_that_the_server_has_none(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    with listening() as listener, caplog.at_level(logging.INFO):
        with pytest.raises(ConnectionError, match="speaks no TLS"):
            TLSClient(listener, pair.authority)
        until(lambda: listener.clients == 0)
    assert "it speaks TLS, and this server has no certificate" in caplog.text


def test_a_server_that_is_not_the_trusted_one_hears_nothing(
    secured: Listener, pair: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        with pytest.raises(ConnectionError, match="not the trusted one"):
            TLSClient(secured, make_pair(tmp_path, LOOPBACK).authority)
        with pytest.raises(ConnectionError, match="not for localhost"):
            TLSClient(secured, pair.authority, host="localhost")
        until(lambda: secured.clients == 0)
    assert caplog.text.count("does not trust the certificate") == 2


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_a_handshake_that_stops_costs_only_its_own_connection(
    said: bytes, secured: Listener, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, begun = Client(secured), time.monotonic()
    stuck.send(said)
    assert TLSClient(secured, pair.authority).says(PASSWORD) == PASSWORD
    with caplog.at_level(logging.INFO):
        assert stuck.receive() is None
        assert 0.4 < time.monotonic() - begun < stretched(2.0)
        until(lambda: "no TLS handshake" in caplog.text)


def test_garbage_after_the_handshake_and_in_its_place_is_harmless(
    secured: Listener, pair: Pair
) -> None:
    rng, good = np.random.default_rng(0), TLSClient(secured, pair.authority)
    assert good.says(PASSWORD) == PASSWORD
    for begin in (b"", b"\x16", b"\x16\x03\x01\x00\x40\x01"):
        client = Client(secured)
        client.send(begin + rng.bytes(200))
        client.socket.close()
    inside = TLSClient(secured, pair.authority)
    inside.send(rng.bytes(200))
    assert inside.receive() is None
    beside = TLSClient(secured, pair.authority)
    beside.says(PASSWORD)
    socket.socket.sendall(beside.socket, rng.bytes(200))  # beside the encryption
    with pytest.raises(ssl.SSLError):
        beside.receive()
    assert good.says(PASSWORD) == PASSWORD
    until(lambda: secured.clients == 1)


def test_closing_does_not_wait_for_strangers(pair: Pair) -> None:
    tls = server_context(pair.certificate, pair.key)
    for options in ({}, {"tls": tls}):
        listener = Listener(LOOPBACK, 0, Guarded, **options)
        silent = [Client(listener) for _ in range(3)]
        until(lambda: listener.clients == 3)  # noqa: B023
        begun = time.monotonic()
        listener.close()
        assert time.monotonic() - begun < stretched(2.0)
        assert [client.receive() for client in silent] == [None] * 3
