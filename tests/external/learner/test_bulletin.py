"""Robots get the newest policy once, with its age, and hear how training goes."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from e2hil_rllib.external.learner.bulletin import Bulletin
from e2hil_rllib.external.protocol.codec import decode
from e2hil_rllib.external.protocol.weights import Weights


class Clock:
    """Time that a test lets pass [s]."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def policy(value: float) -> dict[str, np.ndarray]:
    return {"w": np.full(3, value, np.float32)}


def weights_of(bulletin: Bulletin, version: int = 0) -> Weights | None:
    body = bulletin.weights_unless(version)
    return None if body is None else Weights.from_message(decode(body))


def status_of(bulletin: Bulletin) -> dict[str, Any]:
    message: dict[str, Any] = decode(bulletin.status())
    return message


def test_before_the_first_policy_there_is_none() -> None:
    bulletin = Bulletin({"trunk": ""})
    assert bulletin.welcome == {"trunk": ""}
    assert bulletin.version == 0
    assert bulletin.weights_unless(0) is None and bulletin.weights_unless(7) is None
    assert status_of(bulletin) == {"type": "STATUS", "version": 0, "status": {}}


def test_who_has_another_policy_gets_the_newest_and_who_has_it_nothing() -> None:
    bulletin = Bulletin({})
    for value in (1.0, 2.0, 3.0):
        bulletin.publish(policy(value))
    assert bulletin.version == 3
    # Higher versions are those of a learner's process before this one.
    for other in (0, 1, 2, 4, 900):
        newest = weights_of(bulletin, other)
        assert newest is not None and newest.version == 3
        assert newest.tensors["w"].tolist() == [3.0] * 3
    assert bulletin.weights_unless(3) is None
    assert status_of(bulletin)["version"] == 3


def test_a_policys_age_is_that_of_the_moment_when_it_is_sent() -> None:
    clock = Clock()
    bulletin = Bulletin({}, clock)
    bulletin.publish(policy(1.0))
    clock.now += 2.5
    first = weights_of(bulletin)
    assert first is not None and first.age == 2.5
    bulletin.publish(policy(2.0))
    second = weights_of(bulletin)
    assert second is not None and second.age == 0.0


def test_a_policy_has_the_updates_that_were_told_before_it() -> None:
    bulletin = Bulletin({})
    bulletin.publish(policy(1.0))
    bulletin.tell({"updates": 40})
    before = weights_of(bulletin)
    assert before is not None and before.updates == 0
    bulletin.publish(policy(2.0))
    bulletin.tell({"updates": 80})
    after = weights_of(bulletin)
    assert after is not None and after.updates == 40


def test_what_is_told_later_leaves_the_rest() -> None:
    bulletin = Bulletin({})
    bulletin.tell({"updates": 3, "success_rate": math.nan})
    bulletin.tell({"updates": 4, "done": True})
    status = status_of(bulletin)["status"]
    assert math.isnan(status.pop("success_rate"))
    assert status == {"updates": 4, "done": True}


def test_what_is_read_while_it_changes_belongs_together() -> None:
    bulletin, ended = Bulletin({}), threading.Event()

    def publish() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            bulletin.tell({"updates": number})
            bulletin.publish(policy(float(number)))

    thread = threading.Thread(target=publish)
    thread.start()
    seen = set()
    try:
        while len(seen) < 20:
            weights = weights_of(bulletin)
            if weights is not None:
                assert weights.tensors["w"][0] == weights.version == weights.updates
                seen.add(weights.version)
    finally:
        ended.set()
        thread.join()
