"""Statistics of few seeds, against closed forms, scipy and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from e2hil_rllib.report.comparison.statistics import (
    interquartile_mean,
    interquartile_mean_estimate,
    pearson,
    probability_of_improvement,
    spearman,
)

scores = st.lists(st.integers(0, 20), min_size=1, max_size=12).map(lambda v: np.array(v) / 20)
groups = st.lists(scores, min_size=1, max_size=4)


def test_the_middle_half_is_averaged() -> None:
    assert interquartile_mean(np.array([1.0, 100.0, 3.0, 2.0])) == 2.5
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 3.0, 50.0])) == 2  # one of five at each end
    assert interquartile_mean(np.array([[7.0, 1.0], [2.0, 3.0]])).tolist() == [4, 2.5]


@given(scores)
def test_the_mean_is_scipys_trimmed_one_whatever_the_order(values: np.ndarray) -> None:
    expected = stats.trim_mean(values, 0.25)
    assert interquartile_mean(values) == pytest.approx(expected)
    assert interquartile_mean(values[::-1]) == pytest.approx(expected)


@given(groups, groups)
@settings(deadline=None)
def test_probability_of_improvement_is_that_of_mann_and_whitney(
    a: list[np.ndarray], b: list[np.ndarray]
) -> None:
    a, b = a[: len(b)], b[: len(a)]
    expected = np.mean(
        [
            stats.mannwhitneyu(x, y, method="asymptotic").statistic / (len(x) * len(y))
            for x, y in zip(a, b, strict=True)
        ]
    )
    ours = probability_of_improvement(a, b, resamples=50)
    theirs = probability_of_improvement(b, a, resamples=50)
    assert ours.value == pytest.approx(expected)
    assert ours.value + theirs.value == pytest.approx(1)
    if not math.isnan(ours.low):
        assert 0 <= ours.low <= ours.high <= 1


@given(groups, st.floats(0.5, 4), st.floats(-3, 3))
@settings(deadline=None)
def test_intervals_lie_among_the_scores_and_move_with_them(
    a: list[np.ndarray], scale: float, shift: float
) -> None:
    estimate = interquartile_mean_estimate(a, resamples=100)
    moved = interquartile_mean_estimate([scale * x + shift for x in a], resamples=100)
    assert moved.value == pytest.approx(scale * estimate.value + shift)
    if any(len(x) > 1 for x in a):
        everything = np.concatenate(a)
        assert everything.min() - 1e-9 <= estimate.low <= estimate.high <= everything.max() + 1e-9
        assert moved.low == pytest.approx(scale * estimate.low + shift)
    else:
        assert math.isnan(estimate.low) and math.isnan(estimate.high)


def every_draw(group: np.ndarray) -> list[np.ndarray]:
    """All n^n equally likely resamples."""
    return [np.array(draw) for draw in itertools.product(group, repeat=len(group))]


def test_the_interval_is_that_of_all_resamples() -> None:
    one, two = np.array([0.1, 0.35, 0.6, 0.7, 0.95]), np.array([0.2, 0.3])
    pooled = [
        interquartile_mean(np.concatenate([x, y])) for x in every_draw(one) for y in every_draw(two)
    ]
    estimate = interquartile_mean_estimate([one, two], resamples=40_000)
    low, high = np.percentile(pooled, (2.5, 97.5))
    assert estimate.low == pytest.approx(low, abs=0.01)
    assert estimate.high == pytest.approx(high, abs=0.01)
    # Drawn from both tasks together, whole tasks could be missing: the interval would be longer.
    mixed = interquartile_mean_estimate([np.r_[one, two]], resamples=40_000)
    assert mixed.high - mixed.low > 1.1 * (estimate.high - estimate.low)


def test_the_interval_of_an_improvement_is_that_of_all_resamples() -> None:
    x, y = np.array([0.2, 0.5, 0.5, 0.9]), np.array([0.1, 0.5, 0.6])
    wins = [
        np.mean([[(a > b) + 0.5 * (a == b) for b in v] for a in u])
        for u in every_draw(x)
        for v in every_draw(y)
    ]
    estimate = probability_of_improvement([x], [y], resamples=20_000)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.percentile(wins, (2.5, 97.5))))
    # 0.2 beats one of three, 0.5 one and ties with another, 0.9 all.
    assert estimate.value == pytest.approx((1 + 1.5 + 1.5 + 3) / 12)


def test_infinite_scores_of_a_sign_tie_and_lose_against_any_other() -> None:
    never = -np.inf
    estimate = probability_of_improvement([np.array([never, -9])], [np.array([never, -10, -5])])
    # Never ties with one of three; -9 beats never and -10.
    assert estimate.value == pytest.approx((0.5 + 2) / 6)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    neither = np.full(5, never)
    estimate = probability_of_improvement([neither], [neither])
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.5, 0.5)


def test_runs_that_never_got_there_count_as_infinite() -> None:
    never = np.inf
    # Of five, one is left out at each end.
    one = interquartile_mean_estimate([np.array([1.0, 2.0, 3.0, 4.0, never])], infinite=True)
    assert one.value == 3.0 and 1.0 <= one.low < 3.0 and one.high == never
    two = interquartile_mean_estimate([np.array([1.0, 2.0, 3.0, never, never])], infinite=True)
    assert (two.value, two.high) == (never, never) and 1.0 <= two.low < never
    all_of_them = interquartile_mean_estimate([np.full(5, never)], infinite=True)
    assert (all_of_them.value, all_of_them.low, all_of_them.high) == (never, never, never)


def test_the_interval_agrees_with_scipys_and_with_the_normal_one() -> None:
    values = np.random.default_rng(3).normal(5, 2, 200)
    estimate = interquartile_mean_estimate([values])
    reference = stats.bootstrap(
        (values,), interquartile_mean, method="percentile", n_resamples=5000, rng=1
    ).confidence_interval
    assert estimate.low == pytest.approx(reference.low, abs=0.04)
    assert estimate.high == pytest.approx(reference.high, abs=0.04)
    # The interquartile mean of a normal sample has about 1.19 times the mean's variance.
    half = 1.96 * 2 * math.sqrt(1.19 / 200)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(half, rel=0.15)


def test_many_runs_are_drawn_in_blocks_with_the_same_answer() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(0.5, 1, 300), random.normal(0, 1, 300)
    estimate = probability_of_improvement([x], [y], resamples=300)
    # Two normal runs, half a deviation apart: Φ(0.5 / √2).
    assert estimate.low < stats.norm.cdf(0.5 / math.sqrt(2)) < estimate.high
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 / math.sqrt(12 * 150), rel=0.25)


def test_a_seed_makes_it_repeatable() -> None:
    values = [np.array([0.1, 0.4, 0.5, 0.9, 1.0])]
    first, again, other = (interquartile_mean_estimate(values, seed=s) for s in (1, 1, 2))
    assert first == again and first.value == other.value
    assert interquartile_mean_estimate([np.full(5, 0.7)]).low == pytest.approx(0.7)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=30))
def test_correlations_agree_with_scipy(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(pearson(x, y)) and math.isnan(spearman(x, y))
        return
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_two_pairs_have_no_correlation() -> None:
    assert math.isnan(pearson(np.array([1.0, 2.0]), np.array([3.0, 5.0])))


def test_invalid_scores_are_refused() -> None:
    some = np.array([0.5, 0.6])
    with pytest.raises(ValueError, match="no values"):
        interquartile_mean(np.array([]))
    for wrong in ([], [some, np.array([])], [some[None]]):
        with pytest.raises(ValueError, match="expected runs of shape"):
            interquartile_mean_estimate(wrong)
    with pytest.raises(ValueError, match="not finite"):
        interquartile_mean_estimate([np.array([0.5, np.nan])])
    with pytest.raises(ValueError, match="not finite"):
        interquartile_mean_estimate([np.array([0.5, np.inf])])
    with pytest.raises(ValueError, match="not a number"):
        probability_of_improvement([some], [np.array([0.5, np.nan])])
    with pytest.raises(ValueError, match="2 tasks cannot be compared with 1"):
        probability_of_improvement([some, some], [some])
