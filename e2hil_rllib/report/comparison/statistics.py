"""Statistics over few seeds: interquartile means, bootstrap intervals, probability of improvement.

As in Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice",
and their library rliable: scores are a group of runs for each task; the bootstrap draws runs with
replacement within each task (stratified), and its interval is that of the percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

FEWEST_SEEDS = 5
"""Number of seeds below which an interval is too short more often than it claims."""
RESAMPLES = 5000
"""Draws of a bootstrap."""

_CONFIDENCE = 0.95
_BLOCK = 2_000_000  # numbers in a block of resamples, so that many runs do not fill the memory


@dataclass(frozen=True)
class Estimate:
    """Value and the ends of its 95 % interval, which are NaN for a single run."""

    value: float
    low: float = math.nan
    high: float = math.nan


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of the middle half: a quarter, rounded down, is left out at each end.

    Args:
        values: Values, shape (..., n).

    Returns:
        Means, shape (...).

    Raises:
        ValueError: There are no values.
    """
    number = values.shape[-1]
    if not number:
        raise ValueError("there are no values to take an interquartile mean of")
    cut = number // 4
    return np.sort(values, axis=-1)[..., cut : number - cut].mean(axis=-1)


def mean_known(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN where there is none."""
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan


def interquartile_mean_estimate(
    groups: Sequence[np.ndarray],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    infinite: bool = False,
) -> Estimate:
    """Return the interquartile mean over all runs of all tasks, with its bootstrap interval.

    Args:
        groups: Scores of the runs of each task, shapes (runs,); they may differ in length.
        resamples: Draws of the bootstrap.
        seed: Seed of the draws.
        infinite: Whether scores may be infinite, for runs that never got there; the mean is, if
            one of them is in the middle half.

    Raises:
        ValueError: There is no task, or one has no runs.
    """
    _check(groups, infinite)

    def drawn(random: np.random.Generator, count: int) -> np.ndarray:
        return interquartile_mean(np.concatenate(_resampled(groups, random, count), axis=-1))

    return Estimate(
        float(interquartile_mean(np.concatenate(groups))),
        *_interval(drawn, groups, resamples, seed),
    )


def probability_of_improvement(
    ours: Sequence[np.ndarray],
    theirs: Sequence[np.ndarray],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the chance that a run of ours scores higher than one of theirs, mean over the tasks.

    On each task it is Mann and Whitney's U divided by the number of pairs; a tie counts half.

    Args:
        ours: Scores of our runs on each task, shapes (runs,); they may be infinite, and infinite
            scores of the same sign tie.
        theirs: Scores of their runs, with the same tasks in the same order.
        resamples: Draws of the bootstrap.
        seed: Seed of the draws.

    Raises:
        ValueError: The tasks differ in number, there is none, or one has no runs.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} tasks cannot be compared with {len(theirs)}")
    _check([*ours, *theirs], infinite=True)

    def drawn(random: np.random.Generator, count: int) -> np.ndarray:
        pairs = zip(_resampled(ours, random, count), _resampled(theirs, random, count), strict=True)
        return np.mean([_share_of_wins(x, y) for x, y in pairs], axis=0)

    value = np.mean([_share_of_wins(x, y) for x, y in zip(ours, theirs, strict=True)])
    return Estimate(float(value), *_interval(drawn, [*ours, *theirs], resamples, seed))


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Return Pearson's correlation of two arrays of shape (n,).

    Returns:
        Correlation from -1 to 1; NaN for fewer than three pairs, or where one array is constant.
    """
    if len(x) < 3:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / scale, -1, 1)) if scale > 0 else math.nan


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's rank correlation of two arrays of shape (n,); ties share their mean rank.

    Returns:
        As ``pearson``.
    """
    return pearson(_ranks(x), _ranks(y))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def _share_of_wins(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the share of pairs of x (..., n) and y (..., m) that x wins, shape (...)."""
    x, y = x[..., :, None], y[..., None, :]
    return ((x > y) + 0.5 * (x == y)).mean(axis=(-2, -1))


def _check(groups: Sequence[np.ndarray], infinite: bool = False) -> None:
    if not groups or any(group.ndim != 1 or not len(group) for group in groups):
        shapes = [group.shape for group in groups]
        raise ValueError(f"expected runs of shape (n,) for each task, n > 0, got {shapes}")
    if any((np.isnan(group) if infinite else ~np.isfinite(group)).any() for group in groups):
        what = "not a number" if infinite else "not finite"
        raise ValueError(f"a score is {what}; leave such runs out and say so")


def _resampled(
    groups: Sequence[np.ndarray], random: np.random.Generator, count: int
) -> list[np.ndarray]:
    """Draw from each group with replacement, shapes (count, runs)."""
    return [group[random.integers(len(group), size=(count, len(group)))] for group in groups]


def _interval(
    drawn: Callable[[np.random.Generator, int], np.ndarray],
    groups: Sequence[np.ndarray],
    resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Return the percentiles of a statistic over resamples; NaN if every group is a single run."""
    if all(len(group) == 1 for group in groups):
        return math.nan, math.nan
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK // max(len(group) for group in groups) ** 2)
    counts = [min(block, resamples - start) for start in range(0, resamples, block)]
    values = np.concatenate([drawn(random, count) for count in counts])
    tail = 50 * (1 - _CONFIDENCE)
    ends = (tail, 100 - tail)
    if np.isfinite(values).all():
        low, high = np.percentile(values, ends)
    else:  # nothing lies between a number and infinity
        low, high = np.percentile(values, ends, method="inverted_cdf")
    return float(low), float(high)
