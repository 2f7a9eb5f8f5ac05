"""Workspace: the box of the tool centre point's commands."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.options import mapping, refuse_unknown

_AXES = ("x", "y", "z")
# Near its base the arm hits itself; below the table and beyond 0.45 m nothing is reachable.
_OUTERMOST = {"x": (0.08, 0.45), "y": (-0.35, 0.35), "z": (0.0, 0.35)}
_SMALLEST_SIDE = 0.04  # [m]: a cube must fit with room to move


@dataclass(frozen=True)
class Workspace:
    """Axis-aligned box in the world (the arm's base at the origin, the table at z = 0).

    Each field is the lowest and highest coordinate of the TCP [m]. The defaults hold wherever the
    gripper can look straight down, or nearly.
    """

    x: tuple[float, float] = (0.14, 0.30)
    y: tuple[float, float] = (-0.15, 0.15)
    z: tuple[float, float] = (0.008, 0.15)

    def __post_init__(self) -> None:
        for axis in _AXES:
            side = np.asarray(getattr(self, axis), dtype=np.float64)
            lowest, highest = _OUTERMOST[axis]
            if side.shape != (2,) or not np.isfinite(side).all():
                raise ValueError(f"workspace.{axis} must be [lowest, highest] in m, got {side!r}")
            if not lowest <= side[0] < side[1] <= highest or side[1] - side[0] < _SMALLEST_SIDE:
                raise ValueError(
                    f"workspace.{axis} must be [lowest, highest] within [{lowest}, {highest}] m "
                    f"and at least {_SMALLEST_SIDE} m long, got {side.tolist()}"
                )
            object.__setattr__(self, axis, (float(side[0]), float(side[1])))

    @classmethod
    def from_options(cls, options: Any) -> "Workspace":
        """Build a workspace from ``{"x": [low, high], …}``; axes left out keep their defaults.

        Raises:
            TypeError: If the options are no mapping or name an axis other than x, y, z.
            ValueError: If a side is out of order, too short or out of any SO101's reach.
        """
        sides = mapping("workspace", options)
        refuse_unknown(sides, _AXES, "workspace")
        return cls(**sides)

    @property
    def low(self) -> NDArray[np.float64]:
        """Lowest corner, shape (3,) [m]."""
        return np.array([self.x[0], self.y[0], self.z[0]])

    @property
    def high(self) -> NDArray[np.float64]:
        """Highest corner, shape (3,) [m]."""
        return np.array([self.x[1], self.y[1], self.z[1]])


def clamp(position: NDArray[np.float64], workspace: Workspace) -> NDArray[np.float64]:
    """Return the point of the workspace nearest to a position, shape (3,) [m]."""
    return np.clip(position, workspace.low, workspace.high)
