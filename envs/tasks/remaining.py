"""Remaining way of a task in metres, as a person who watches the arm sees it.

Every useful motion shortens it: rising, crossing, going down, opening and closing the jaws around a
cube, lifting, carrying, releasing. The reward does not use it.
"""

import numpy as np
from numpy.typing import NDArray

# At full speed the arm moves 20 mm in the time in which the jaws turn by 0.2 rad.
_JAWS = 0.1  # [m/rad]
_FUNNEL = 0.01  # [m]: distance from a goal's vertical below which the way leads down


def way(position: NDArray[np.float64], goal: NDArray[np.float64], clearance: float) -> float:
    """Return the length of the way up, across and down to a goal [m].

    The needed height falls toward the goal at 45 degrees, so that the way is continuous and a
    straight low approach shortens it as well.

    Args:
        position: Start of the way, shape (3,) [m].
        goal: End of the way, shape (3,) [m].
        clearance: Travel height far from the goal [m].
    """
    across = float(np.linalg.norm((goal - position)[:2]))
    needed = min(goal[2] + max(0.0, across - _FUNNEL), max(clearance, goal[2]))
    highest = max(position[2], needed)
    return across + float(2 * highest - position[2] - goal[2])


def turn(angle: float) -> float:
    """Return the way that a turn of the jaws counts as [m], 0 if none is left.

    Args:
        angle: Remaining turn [rad]; negative beyond the goal.
    """
    return _JAWS * max(0.0, angle)
