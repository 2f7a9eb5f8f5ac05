"""Episodes wait for RLlib, clients wait for weights, and neither waits for ever."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from e2hil_rllib.external.rllink.exchange import Exchange, StoppedError
from tests.patience import stretched


def chunk(steps: int) -> SingleAgentEpisode:
    return SingleAgentEpisode(
        observations=[np.zeros(2, np.float32)] * (steps + 1), actions=[0] * steps,
        rewards=[0.0] * steps, len_lookback_buffer=0,
    )  # fmt: skip


def in_the_background(action) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def test_chunks_are_taken_once_and_in_their_order():
    exchange, chunks = Exchange(), [chunk(1), chunk(2), chunk(3)]
    exchange.put(chunks[:2])
    exchange.put(chunks[2:])
    assert exchange.take(0.0) == chunks
    assert exchange.take(0.0) == []


def test_taking_waits_for_something_to_come_but_not_longer_than_told():
    exchange = Exchange()
    begun = time.monotonic()
    assert exchange.take(0.1) == [] and 0.09 < time.monotonic() - begun < stretched(1.0)
    thread = in_the_background(lambda: (time.sleep(0.1), exchange.put([chunk(1)])))
    begun = time.monotonic()
    assert len(exchange.take(10.0)) == 1 and time.monotonic() - begun < stretched(5.0)
    thread.join()


def test_who_brings_more_than_there_is_room_for_waits():
    exchange = Exchange(capacity=5)
    exchange.put([chunk(4)])
    exchange.put([chunk(4)])  # there was room for one step at least
    thread = in_the_background(lambda: exchange.put([chunk(1)]))
    time.sleep(0.3)
    assert thread.is_alive()
    assert len(exchange.take(0.0)) == 2
    thread.join(stretched(5.0))
    assert not thread.is_alive() and len(exchange.take(0.0)) == 1


def test_a_state_is_waited_for_until_it_is_newer():
    exchange = Exchange()
    exchange.publish(b"first")
    assert exchange.version == 1 and exchange.state_after(0) == b"first"
    seen: list[bytes] = []
    thread = in_the_background(lambda: seen.append(exchange.state_after(1)))
    time.sleep(0.1)
    assert seen == []
    exchange.publish(b"second")
    thread.join(stretched(5.0))
    assert seen == [b"second"] and exchange.version == 2


def test_stopping_ends_every_wait():
    exchange = Exchange(capacity=1)
    exchange.put([chunk(1)])
    ended: list[type] = []

    def waits(action) -> None:
        try:
            action()
        except StoppedError as error:
            ended.append(type(error))

    threads = [
        in_the_background(lambda: waits(lambda: exchange.put([chunk(1)]))),
        in_the_background(lambda: waits(lambda: exchange.state_after(0))),
    ]
    time.sleep(0.1)
    exchange.stop()
    for thread in threads:
        thread.join(stretched(5.0))
    assert ended == [StoppedError, StoppedError]
    with pytest.raises(StoppedError, match="has been stopped"):
        exchange.put([chunk(1)])
