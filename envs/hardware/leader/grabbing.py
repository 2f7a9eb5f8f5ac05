"""Detection of a hand on an arm that follows goals."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.options import number

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class GrabRule:
    """Rule by which an arm that follows goals counts as grabbed.

    Attributes:
        threshold: Least distance of a joint from where its servo may have moved it [rad].
        lag: Longest delay of a servo behind its goals [s].
        sag_rate: Fastest change of a joint's sag under the weight [rad/s]; a hand has to be faster.
        largest_sag: Largest sag of a joint under the weight [rad].
        duration: Least duration of the distance [s].

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
    """Detector of a hand that holds or leads an arm that follows goals.

    A free servo is among the goals of the last ``lag`` seconds, up to its sag under the arm's
    weight. The sag changes slowly with the pose and is learned at that rate. Neither explains a
    hand that leads a joint away, or holds it while its goal moves on.

    Args:
        rule: Thresholds and times.
    """

    def __init__(self, rule: GrabRule | None = None) -> None:
        self._rule = rule or GrabRule()
        self.reset()

    @property
    def excess(self) -> FloatArray:
        """Unexplained distance of each joint at the last reading, shape (6,) [rad]."""
        return self._excess.copy()

    def reset(self) -> None:
        """Start again, after the hand has let go or the torque was off."""
        self._goals: deque[tuple[float, FloatArray]] = deque()
        self._sag = np.zeros(6)
        self._excess = np.zeros(6)
        self._read_at: float | None = None
        self._since: float | None = None

    def sent(self, goals: FloatArray, now: float) -> None:
        """Record goals, shape (6,) [rad], and the time at which they were sent [s]."""
        self._goals.append((now, goals.copy()))

    def update(self, positions: FloatArray, now: float) -> bool:
        """Return whether a hand has grabbed the arm.

        Args:
            positions: Joint angles, shape (6,) [rad].
            now: Time of the reading [s].
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
