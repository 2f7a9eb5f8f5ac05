"""Checks of actions and reset options, before anything moves."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ACTION_SIZE = 4
"""Size of an action: TCP step along x, y and z, and the gripper's rate."""


def checked_start(options: dict[str, Any]) -> NDArray[np.float64] | None:
    """Return the joint angles that a reset should start from, None if the options have none.

    Args:
        options: Options of the reset; "joint_positions", shape (6,) [rad], is the only one.

    Raises:
        ValueError: If there is another option, or the angles are not six finite numbers.
    """
    unknown = set(options) - {"joint_positions"}
    if unknown:
        raise ValueError(f"reset's options are ['joint_positions'], got {sorted(unknown)}")
    if "joint_positions" not in options:
        return None
    angles = np.array(options["joint_positions"], np.float64)
    if angles.shape != (6,) or not np.isfinite(angles).all():
        raise ValueError(f"joint_positions must be 6 finite numbers, got {angles.tolist()}")
    return angles


def checked_action(action: ArrayLike, source: str = "action") -> NDArray[np.float64]:
    """Return an action clipped to [-1, 1].

    Args:
        action: Action, shape (4,).
        source: Name of the action in an error.

    Raises:
        ValueError: If the action has another shape or an entry that is not finite.
    """
    values = np.array(action, dtype=np.float64)
    if values.shape != (ACTION_SIZE,):
        raise ValueError(f"{source} must have shape ({ACTION_SIZE},), got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(
            f"{source} must be finite, got {values.tolist()}: look for what made it NaN or "
            "infinite (a diverged policy, a broken leader arm)"
        )
    return np.clip(values, -1.0, 1.0)
