"""What a robot has heard from its learner: the newest policy, how training goes, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from e2hil_rllib.external.protocol.weights import Weights


class News:
    """Keeps the newest of everything; any thread may call any method.

    Args:
        clock: Seconds that only ever grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: float | None = None
        self._arrived: Arrived | None = None
        self._taken: Arrived | None = None
        self._status: dict[str, Any] = {}

    def hear(self, status: dict[str, Any]) -> None:
        """The learner says how training goes."""
        with self._lock:
            self._heard = self._clock()
            self._status = status

    def receive(self, weights: Weights) -> None:
        """A policy has come; one that nobody took before is forgotten."""
        with self._lock:
            self._arrived = Arrived(weights, self._clock() - weights.age)

    def take(self) -> Weights | None:
        """The newest policy, if it has not been taken yet."""
        with self._lock:
            if self._arrived is self._taken:
                return None
            self._taken = self._arrived
            assert self._taken is not None
            weights = self._taken.weights
            self._arrived = self._taken = replace(self._taken, weights=replace(weights, tensors={}))
            return weights

    @property
    def silence(self) -> float:
        """How long the learner has said nothing [s]; infinite before it has said anything."""
        with self._lock:
            return float("inf") if self._heard is None else self._clock() - self._heard

    @property
    def policy_age(self) -> float:
        """How long ago the policy was made that was taken last [s]; NaN before the first."""
        with self._lock:
            return float("nan") if self._taken is None else self._clock() - self._taken.made

    @property
    def status(self) -> dict[str, Any]:
        """How training goes, as the learner said last."""
        with self._lock:
            return dict(self._status)


@dataclass(frozen=True)
class Arrived:
    """A policy, and when it was made by this machine's clock [s]."""

    weights: Weights
    made: float
