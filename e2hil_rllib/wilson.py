"""How sure a share of trials is."""

from __future__ import annotations

import math

_Z = 1.959964  # of the normal distribution's central 95 %


def wilson_interval(share: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (Wilson, 1927).

    Args:
        share: Of successes, 0 to 1.
        trials: Independent ones, at least 1.
    """
    center = (share + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
    spread = math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    half = _Z / (1 + _Z**2 / trials) * spread
    return center - half, center + half
