"""Goals that lead an arm from one command to the next."""

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_SAME = 1e-4  # [rad]: less than a tick


class GoalStream:
    """Stream of goals along straight lines, since a servo overshoots a step and follows a ramp.

    Args:
        send: Function that makes joint angles, shape (6,) [rad], the goals.
        rate: Number of goals per second [Hz].
        clock: Function that returns the time [s].
        sleep: Function that waits for a number of seconds.
    """

    def __init__(
        self,
        send: Callable[[FloatArray], None],
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._send_goals = send
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._sent: FloatArray | None = None

    @property
    def sent(self) -> FloatArray | None:
        """Last goals that were sent, shape (6,) [rad]; None before the first."""
        return None if self._sent is None else self._sent.copy()

    def start_from(self, positions: FloatArray) -> None:
        """Start the next line at these joint angles, shape (6,) [rad], the current goals."""
        self._sent = positions.copy()

    def send_changed(self, targets: FloatArray) -> None:
        """Send joint angles, shape (6,) [rad], if they differ from the last ones."""
        if self._sent is None or np.abs(targets - self._sent).max() > _SAME:
            self._send(targets)

    def ramp(self, targets: FloatArray, end: float) -> None:
        """Send goals along the line to joint angles, shape (6,) [rad], all before the end [s].

        The clock decides: after a delay, goals are skipped instead of being sent in a burst.
        """
        start = targets if self._sent is None else self._sent
        begun = self._clock()
        span = max(0.0, end - begun)
        steps = max(1, round(span * self._rate))
        step = 0
        while step < steps:
            passed = (self._clock() - begun) / span if span > 0 else 1.0
            step = min(steps, max(step, math.floor(passed * steps + 1e-6)) + 1)
            self._send(start + (targets - start) * (step / steps))
            if step < steps:
                self._sleep(max(0.0, begun + step / steps * span - self._clock()))

    def _send(self, targets: FloatArray) -> None:
        self._send_goals(targets)
        self._sent = targets.copy()
