"""Whoever has said nothing valid yet gets little, for a short time, and takes nobody's place."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import Any

import pytest

from e2hil_rllib.external.learner.strangers import Strangers
from e2hil_rllib.external.protocol.codec import Limits, encode
from e2hil_rllib.external.protocol.framing import frame
from tests.external.learner.test_listener import (
    LOOPBACK,
    PASSWORD,
    Client,
    Echo,
    Guarded,
    listening,
    until,
)
from tests.patience import stretched

pytestmark = pytest.mark.realtime

SMALL = Limits(max_bytes=1000, max_values=20, max_depth=3, max_text=100)


@pytest.mark.parametrize("session", [Echo, Guarded])
def test_a_client_that_never_says_a_message_whole_has_to_go(
    session: Any, caplog: pytest.LogCaptureFixture
) -> None:
    message = frame(encode({"type": "knock", "data": b"x" * 5000}))
    strangers = Strangers(patience=0.5)
    with listening(session, strangers=strangers) as listener, caplog.at_level(logging.INFO):
        silent, half, slow, good = (Client(listener) for _ in range(4))
        assert good.says(PASSWORD) == PASSWORD
        begun = time.monotonic()
        half.send(message[:5])
        with contextlib.suppress(ConnectionError):
            for byte in message:  # a byte again and again is not a sign of life
                slow.send(bytes([byte]))
                time.sleep(0.003)
        assert [client.receive() for client in (silent, half, slow)] == [None] * 3
        assert time.monotonic() - begun < stretched(3.0)
        until(lambda: listener.clients == 1)
        assert caplog.text.count("no valid message in the time for it") == 3
        assert good.says(PASSWORD) == PASSWORD


def test_knocking_is_not_enough_to_stay() -> None:
    with listening(strangers=Strangers(patience=0.5)) as listener:
        client, knock = Client(listener), {"type": "knock"}
        for _ in range(3):
            assert client.says(knock) == knock
        assert client.receive() is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"00001001", "at most 1000 are taken"),
        (frame(encode({"type": "knock", "list": [0] * 20})), "values"),
        (frame(encode({"type": "x" * 101})), "bytes"),
        (frame(encode({"type": "other"}))[:5] + frame(encode({"type": "other"}))[5:], "who are"),
    ],
)
def test_strangers_are_held_to_narrow_limits(
    data: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(strangers=Strangers(limits=SMALL)) as listener, caplog.at_level(logging.INFO):
        client = Client(listener)
        client.send(data)
        assert client.receive() is None
        until(lambda: listener.clients == 0)
    assert reason in caplog.text


def test_whoever_is_welcome_may_say_more_even_in_the_same_breath() -> None:
    large = {"type": "x", "data": b"y" * 200_000, "list": [0] * 100}
    with listening(strangers=Strangers(limits=SMALL)) as listener:
        client = Client(listener)
        client.send(frame(encode(PASSWORD)) + frame(encode(large)) + frame(encode(PASSWORD)))
        assert client.receive() == PASSWORD
        assert client.receive() == large
        assert client.says({"type": "x"}) == PASSWORD


def test_a_session_that_welcomes_everybody_has_its_own_limits_from_the_beginning() -> None:
    large = {"type": "x", "data": b"y" * 5_000_000}
    with listening(Echo, strangers=Strangers(limits=SMALL)) as listener:
        assert Client(listener).says(large) == large


def test_strangers_do_not_lock_the_robot_out(caplog: pytest.LogCaptureFixture) -> None:
    strangers = Strangers(patience=30.0, most=4, grace=0.2)
    with listening(most_clients=1, strangers=strangers) as listener:
        caplog.set_level(logging.INFO)
        silent = [Client(listener) for _ in range(8)]
        begun = time.monotonic()
        robot = Client(listener)
        assert robot.says(PASSWORD) == PASSWORD
        assert time.monotonic() - begun < stretched(3.0)
        assert listener.clients <= 5
        # The oldest ones had to go for it; a client never has.
        assert [client.receive() for client in silent[:4]] == [None] * 4
        assert "sent away for others: nothing valid in" in caplog.text
        assert Client(listener).receive() is None
        assert robot.says(PASSWORD) == PASSWORD


def test_a_second_robot_that_comes_with_the_first_is_not_told_that_it_is_welcome() -> None:
    with listening(most_clients=1) as listener:
        first, second = Client(listener), Client(listener)
        until(lambda: listener.clients == 2)
        assert first.says(PASSWORD) == PASSWORD
        assert second.says(PASSWORD) is None
        assert first.says(PASSWORD) == PASSWORD


def test_a_young_stranger_is_not_sent_away_for_another() -> None:
    with listening(strangers=Strangers(patience=30.0, most=2, grace=1.0)) as listener:
        begun = time.monotonic()
        first, _, waiting = (Client(listener) for _ in range(3))
        assert first.receive() is None and time.monotonic() - begun > 0.9
        assert waiting.says(PASSWORD) == PASSWORD


def test_a_crowd_that_comes_again_and_again_does_not_lock_the_robot_out() -> None:
    """Connections as fast as one thread can open them, all silent."""
    with listening(strangers=Strangers(patience=5.0, most=4, grace=0.05)) as listener:
        stop, crowd = threading.Event(), []

        def come() -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    crowd.append(socket.create_connection((LOOPBACK, listener.port), timeout=0.2))
                del crowd[:-50]

        thread = threading.Thread(target=come)
        thread.start()
        try:
            time.sleep(0.3)
            begun = time.monotonic()
            # A robot tries again and again as well.
            until(lambda: Client(listener, patience=20.0).says(PASSWORD) == PASSWORD)
            assert time.monotonic() - begun < stretched(10.0)
        finally:
            stop.set()
            thread.join()
            for stranger in crowd:
                stranger.close()


def test_strangers_that_could_not_begin_are_no_setting() -> None:
    for options in ({"patience": 0.0}, {"most": 0}, {"grace": -1.0}):
        with pytest.raises(ValueError, match="no client"):
            Strangers(**options)  # type: ignore[arg-type]
