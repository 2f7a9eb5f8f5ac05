"""Noticing a hand on an arm that follows goals, by what the servos cannot explain."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.options import number

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class GrabRule:
    """When an arm that follows goals counts as grabbed.

    Attributes:
        threshold: How far a joint has to be from where its servo may have it [rad].
        lag: A servo may be this late behind its goals [s].
        sag_rate: How fast the weight's pull on a joint may change [rad/s]; a hand has to be faster.
        largest_sag: How far the weight may pull a joint from its goal at most [rad].
        duration: How long it has to last [s].

    Raises:
        ValueError: If an entry is out of its range.
    """

    threshold: float = 0.04
    lag: float = 0.1
    sag_rate: float = 0.1
    largest_sag: float = 0.15
    duration: float = 0.03

    def __post_init__(self) -> None:
        """Check the entries."""
        number("grab.threshold", self.threshold, 0.01, 0.5)
        number("grab.lag", self.lag, 0.0, 0.3)
        number("grab.sag_rate", self.sag_rate, 0.0, 1.0)
        number("grab.largest_sag", self.largest_sag, 0.0, 0.5)
        number("grab.duration", self.duration, 0.0, 0.2)


class GrabDetector:
    """Says whether somebody has an arm in hand that follows goals.

    A free servo is somewhere among the goals of the last ``lag`` seconds, but for what the arm's
    weight pulls it aside, which changes slowly with the pose and is learned as fast as that. A hand
    that leads a joint away, or keeps it while its goal moves on, is not explained by either.

    Args:
        rule: The figures.
    """

    def __init__(self, rule: GrabRule | None = None) -> None:
        self._rule = rule or GrabRule()
        self.reset()

    @property
    def excess(self) -> FloatArray:
        """How far each joint was from where it may be at the last reading, shape (6,) [rad]."""
        return self._excess.copy()

    def reset(self) -> None:
        """Begin anew: the arm was let go of, or its torque was off."""
        self._goals: deque[tuple[float, FloatArray]] = deque()
        self._sag = np.zeros(6)
        self._excess = np.zeros(6)
        self._read_at: float | None = None
        self._since: float | None = None

    def sent(self, goals: FloatArray, now: float) -> None:
        """Take note of goals, shape (6,) [rad], at the time they were sent [s]."""
        self._goals.append((now, goals.copy()))

    def update(self, positions: FloatArray, now: float) -> bool:
        """Return whether the arm is in somebody's hand.

        Args:
            positions: Joint angles, shape (6,) [rad].
            now: When they were read [s].
        """
        if not self._goals:
            return False
        # The goal that was in force when the lag began still counts.
        while len(self._goals) > 1 and self._goals[1][0] <= now - self._rule.lag:
            self._goals.popleft()
        goals = np.array([each for _, each in self._goals])
        without_sag = positions + self._sag
        outside = without_sag - np.clip(without_sag, goals.min(axis=0), goals.max(axis=0))
        passed = 0.0 if self._read_at is None else now - self._read_at
        self._read_at = now
        learned = self._rule.sag_rate * passed
        self._sag = np.clip(
            self._sag - np.clip(outside, -learned, learned),
            -self._rule.largest_sag,
            self._rule.largest_sag,
        )
        self._excess = np.abs(outside)
        if self._excess.max() <= self._rule.threshold:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= self._rule.duration
