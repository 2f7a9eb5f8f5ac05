"""Success at equal human cost: how well a policy does alone while a person's work is spent."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

Point = tuple[float, float]
"""Human-controlled steps spent in training, and success of the policy alone that came of them."""


def success_at(points: Sequence[Point], human_steps: float) -> float:
    """success(h): that of the last evaluation by then, 0 before the first one.

    Args:
        points: Of all evaluations, in their order.
        human_steps: h, the human steps spent.

    Raises:
        ValueError: The human steps of the points decrease.
    """
    return next((s for h, s in reversed(_checked(points)) if h <= human_steps), 0.0)


def mean_success(points: Sequence[Point], human_steps: float) -> float:
    """The objective at a budget: 1/H · ∫₀ᴴ success(h) dh.

    A policy that has learned with little of a person's work is good for all the rest of H; one
    that no longer needs the person is evaluated at fewer human steps than H, and its last success
    is carried forward. Of several evaluations at the same h, the last one counts.

    Args:
        points: Of all evaluations, in their order.
        human_steps: H, the budget; at 0 it is the limit H → 0, which is success(0).

    Returns:
        The mean, as the successes a share from 0 to 1.

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
    """Start, end and height of each stair; the last one reaches to the end."""
    closed = [*points, (max(end, points[-1][0]) if points else end, 0.0)]
    for (start, success), (following, _) in itertools.pairwise(closed):
        yield start, following, success


def _checked(points: Sequence[Point]) -> Sequence[Point]:
    for (before, _), (after, _) in itertools.pairwise(points):
        if after < before:
            raise ValueError(f"the human steps decrease from {before} to {after}")
    return points
