"""What is left of a task, as somebody sees it who watches the arm: a way in metres.

Whatever gets a task on shortens the way: rising, crossing, going down, opening and closing the jaws
around a cube, lifting, carrying, letting go. The reward knows nothing of it.
"""

import numpy as np
from numpy.typing import NDArray

# At full speed the arm goes 20 mm in the time in which the jaws turn by 0.2 rad.
_JAWS = 0.1  # [m/rad]
_FUNNEL = 0.01  # [m]: this near to a goal's vertical, going down is the way


def way(position: NDArray[np.float64], goal: NDArray[np.float64], clearance: float) -> float:
    """Return the length of the way up, across and down to a goal [m].

    The height that the way needs falls toward the goal at 45 degrees, so that it is continuous, and
    a straight low approach gets on as well.

    Args:
        position: Where the way begins, shape (3,) [m].
        goal: Where it ends, shape (3,) [m].
        clearance: Height at which to travel, far from the goal [m].
    """
    across = float(np.linalg.norm((goal - position)[:2]))
    needed = min(goal[2] + max(0.0, across - _FUNNEL), max(clearance, goal[2]))
    highest = max(position[2], needed)
    return across + float(2 * highest - position[2] - goal[2])


def turn(angle: float) -> float:
    """Return the way that a turn of the jaws counts as [m], 0 where none is left.

    Args:
        angle: How far they still have to turn [rad]; they are beyond it where it is negative.
    """
    return _JAWS * max(0.0, angle)
