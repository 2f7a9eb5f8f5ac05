"""A robot takes each policy once, and knows how old it is and how long the learner was silent."""

from __future__ import annotations

import math
import threading

import numpy as np

from e2hil_rllib.external.protocol.weights import Weights
from e2hil_rllib.external.robot.news import News
from tests.external.learner.test_bulletin import Clock


def weights(version: int, age: float = 0.0) -> Weights:
    return Weights(version, 10 * version, age, {"w": np.full(2, version, np.float32)})


def version_of(taken: Weights | None) -> int | None:
    return None if taken is None else taken.version


def test_before_the_learner_has_said_anything() -> None:
    news = News()
    assert news.silence == math.inf and math.isnan(news.policy_age)
    assert news.take() is None and news.status == {}


def test_a_policy_is_taken_once_and_an_older_one_that_nobody_took_never() -> None:
    news = News()
    for version in (1, 2):
        news.receive(weights(version))
    taken = news.take()
    assert taken is not None and (taken.version, taken.updates) == (2, 20)
    assert taken.tensors["w"].tolist() == [2.0, 2.0]
    assert news.take() is None and news.take() is None
    # The learner was started anew, and counts from 1 again.
    news.receive(weights(1))
    assert version_of(news.take()) == 1
    assert news.take() is None


def test_what_was_taken_is_not_kept() -> None:
    """A policy may have megabytes."""
    news = News()
    news.receive(weights(1))
    taken = news.take()
    assert taken is not None and taken.tensors
    assert all(not it.weights.tensors for it in (news._arrived, news._taken) if it)


def test_the_age_is_that_of_the_policy_that_was_taken() -> None:
    clock = Clock()
    news = News(clock)
    news.receive(weights(1, age=1.5))
    clock.now += 2.0
    assert math.isnan(news.policy_age), "nobody acts with it yet"
    news.take()
    assert news.policy_age == 3.5
    clock.now += 1.0
    news.receive(weights(2, age=0.25))
    assert news.policy_age == 4.5
    news.take()
    assert news.policy_age == 0.25


def test_silence_is_counted_from_the_last_status_and_no_policy_ends_it() -> None:
    clock = Clock()
    news = News(clock)
    news.receive(weights(1))
    assert news.silence == math.inf
    news.hear({"updates": 1})
    clock.now += 4.0
    news.receive(weights(2))
    assert news.silence == 4.0 and news.status == {"updates": 1}
    news.hear({"done": True})
    assert news.silence == 0.0 and news.status == {"done": True}


def test_the_status_is_the_readers_own() -> None:
    news = News()
    news.hear({"updates": 1})
    news.status["updates"] = 9
    assert news.status == {"updates": 1}


def test_of_policies_that_come_meanwhile_none_is_taken_twice_or_after_a_newer_one() -> None:
    news, ended = News(), threading.Event()

    def receive() -> None:
        version = 0
        while not ended.is_set():
            version += 1
            news.receive(weights(version))

    thread = threading.Thread(target=receive)
    thread.start()
    taken: list[int] = []
    try:
        while len(taken) < 50:
            newest = news.take()
            if newest is not None:
                assert newest.tensors["w"].tolist() == [newest.version] * 2
                taken.append(newest.version)
    finally:
        ended.set()
        thread.join()
    assert taken == sorted(set(taken))
