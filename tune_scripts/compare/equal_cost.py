"""Success at equal human cost: success of the policy alone as a function of human steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

Point = tuple[float, float]
"""Human steps spent in training so far, and success of the policy alone, 0 to 1."""


def success_at(points: Sequence[Point], human_steps: float) -> float:
    """Return success(h): that of the last evaluation by then, 0 before the first one.

    Args:
        points: Points of all evaluations, in order.
        human_steps: Human steps spent, h.

    Raises:
        ValueError: The human steps of the points decrease.
    """
    return next((s for h, s in reversed(_checked(points)) if h <= human_steps), 0.0)


def mean_success(points: Sequence[Point], human_steps: float) -> float:
    """Return the objective at a budget: 1/H · ∫₀ᴴ success(h) dh.

    A policy that has learned from few human steps succeeds over all the rest of H; one that no
    longer needs the person is evaluated at fewer human steps than H, and its last success is
    carried forward. Among several evaluations at the same h, the last one counts.

    Args:
        points: Points of all evaluations, in order.
        human_steps: Budget H; at 0 the result is the limit H → 0, which is success(0).

    Returns:
        Mean success, 0 to 1.

    Raises:
        ValueError: The human steps of the points decrease, or the budget is below 0.
    """
    if human_steps < 0:
        raise ValueError(f"the human steps cannot be {human_steps}")
    if human_steps == 0:
        return success_at(points, 0)
    area = sum(
        success * (min(end, human_steps) - start)
        for start, end, success in _stairs(_checked(points), human_steps)
        if start < human_steps
    )
    return area / human_steps


def _stairs(points: Sequence[Point], end: float) -> Iterator[tuple[float, float, float]]:
    """Yield start, end and height of each stair; the last one reaches to the end."""
    closed = [*points, (max(end, points[-1][0]) if points else end, 0.0)]
    for (start, success), (following, _) in itertools.pairwise(closed):
        yield start, following, success


def _checked(points: Sequence[Point]) -> Sequence[Point]:
    for (before, _), (after, _) in itertools.pairwise(points):
        if after < before:
            raise ValueError(f"the human steps decrease from {before} to {after}")
    return points
