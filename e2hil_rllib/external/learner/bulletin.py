"""What a learner has to say to its robots: the newest policy, and how training goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from e2hil_rllib.external.protocol.codec import encode
from e2hil_rllib.external.protocol.weights import Weights


class Bulletin:
    """Keeps the newest of everything; any thread may call any method.

    Args:
        welcome: First message to each robot: `spaces` of the policy (see
            `protocol.spaces.describe`) and `trunk`, the fingerprint of a frozen trunk.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, welcome: dict[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.welcome = welcome
        self._clock = clock
        self._lock = threading.Lock()
        self._version = self._updates = 0
        self._made = 0.0
        self._tensors: dict[str, np.ndarray] = {}
        self._status: dict[str, Any] = {}

    @property
    def version(self) -> int:
        """Of the newest policy; 0 before the first."""
        with self._lock:
            return self._version

    def publish(self, tensors: dict[str, np.ndarray]) -> None:
        """Makes a policy the newest one; its arrays must not be changed any more."""
        with self._lock:
            self._version += 1
            self._updates = int(self._status.get("updates", 0))
            self._made = self._clock()
            self._tensors = tensors

    def tell(self, status: dict[str, Any]) -> None:
        """Changes how training goes: plain values by name, e.g. `updates` and `done`."""
        with self._lock:
            self._status = self._status | status

    def status(self) -> bytes:
        """How training goes, as a message."""
        with self._lock:
            return encode({"type": "STATUS", "version": self._version, "status": self._status})

    def weights_unless(self, version: int) -> bytes | None:
        """The newest policy as a message; None if there is none, or it has this version."""
        with self._lock:
            if self._version in (0, version):
                return None
            age = max(0.0, self._clock() - self._made)
            newest = Weights(self._version, self._updates, age, self._tensors)
        return encode(newest.to_message())
