"""Task on a real table, whose success a person or a classifier judges."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.kinematics import HOME, JOINTS, Kinematics
from envs.options import number

FloatArray = NDArray[np.float64]

LARGEST_NOISE = 0.3
"""Largest noise of a start [rad]."""


class RealTable:
    """Start of an episode on hardware; implements ``envs.interfaces.Task``.

    Args:
        pose: Start of the arm, six joint angles [rad].
        noise: Largest random deviation of each joint from the start [rad].

    Raises:
        ValueError: If the pose is not six angles that the arm can take, or the noise is out of its
            range.
    """

    def __init__(self, pose: Sequence[float] = tuple(HOME), noise: float = 0.05) -> None:
        self._noise = number("start_noise", noise, 0.0, LARGEST_NOISE)
        self._low, self._high = Kinematics().joint_limits
        try:
            self._pose = np.array(pose, np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(_expected(pose)) from error
        if self._pose.shape != (len(JOINTS),) or not np.isfinite(self._pose).all():
            raise ValueError(_expected(pose))
        for name, angle, low, high in zip(JOINTS, self._pose, self._low, self._high, strict=True):
            number(f"start.{name}", float(angle), float(low), float(high))

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Draw the arm's start, joint angles of shape (6,) [rad]."""
        noise = rng.uniform(-self._noise, self._noise, len(JOINTS))
        return np.clip(self._pose + noise, self._low, self._high)

    def object_bounds(self) -> None:
        """Return None, since nothing measures the objects."""

    def objects(self) -> FloatArray:
        """Return an empty vector, shape (0,)."""
        return np.zeros(0)

    def succeeded(self) -> None:
        """Return None, since only a person or a classifier can tell."""

    def start_name(self) -> str:
        """Return "", since all starts are alike."""
        return ""

    def progress(self) -> float:
        """Return 0, since nothing measures the progress."""
        return 0.0


def _expected(pose: object) -> str:
    return f"start must be {len(JOINTS)} angles in rad ({', '.join(JOINTS)}), got {pose!r}"
