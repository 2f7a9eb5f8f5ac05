"""Success at equal human cost: closed-form cases and properties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_scripts.compare.equal_cost import mean_success, success_at

SUCCESS = st.floats(0, 1)
BUDGET = st.integers(0, 60)


@st.composite
def evaluations(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Points of a run: whole human steps that never decrease, many of them equal."""
    steps = itertools.accumulate(draw(st.lists(st.integers(0, 8), max_size=12)))
    return [(float(h), draw(SUCCESS)) for h in steps]


@pytest.mark.parametrize(
    ("points", "budget", "expected"),
    [
        ([], 10, 0.0),
        ([(0, 0.7)], 10, 0.7),  # nobody was needed
        ([(4, 1.0)], 10, 0.6),  # 0 until 4, then carried forward
        ([(4, 1.0)], 4, 0.0),
        ([(2, 0.5), (6, 1.0)], 10, (4 * 0.5 + 4 * 1.0) / 10),
        ([(2, 0.5), (6, 1.0), (30, 0.0)], 10, 0.6),  # what comes after the budget
        ([(2, 1.0), (2, 0.25)], 4, 0.125),  # ties: the later one counts
        ([(0, 0.1), (0, 0.9)], 0, 0.9),
        ([(3, 1.0)], 0, 0.0),
        ([(2, 1.0), (4, 0.0)], 8, 0.25),  # what was unlearned again
    ],
)
def test_closed_form_cases(points, budget, expected):
    assert mean_success(points, budget) == pytest.approx(expected)


@given(evaluations(), BUDGET.filter(bool))
def test_mean_success_is_the_mean_of_the_step_function(points, budget):
    # Stairs begin at whole steps, so that the sum over them is the integral.
    by_hand = np.mean([success_at(points, h) for h in range(budget)])
    assert mean_success(points, budget) == pytest.approx(by_hand)


@given(evaluations(), BUDGET)
def test_mean_success_is_between_0_and_the_best_evaluation(points, budget):
    best = max((success for _, success in points), default=0.0)
    assert -1e-12 <= mean_success(points, budget) <= best + 1e-12


@given(evaluations(), BUDGET, SUCCESS, st.data())
def test_a_better_evaluation_never_makes_it_worse(points, budget, success, data):
    if not points:
        return
    at = data.draw(st.integers(0, len(points) - 1))
    better = [*points]
    better[at] = (points[at][0], max(points[at][1], success))
    assert mean_success(better, budget) >= mean_success(points, budget) - 1e-12


@given(evaluations(), BUDGET, st.integers(0, 5))
def test_the_same_success_for_more_human_steps_is_never_better(points, budget, more):
    later = [(h + more, success) for h, success in points]
    monotone = [(h, max(s for _, s in points[: i + 1])) for i, (h, _) in enumerate(points)]
    delayed = [(h, s) for (h, _), (_, s) in zip(later, monotone, strict=True)]
    assert mean_success(delayed, budget) <= mean_success(monotone, budget) + 1e-12


@given(evaluations(), BUDGET.filter(bool), st.integers(1, 40))
def test_the_last_success_is_carried_forward(points, budget, longer):
    known = [point for point in points if point[0] <= budget]
    whole = mean_success(known, budget) * budget + longer * success_at(known, budget)
    assert mean_success(known, budget + longer) == pytest.approx(whole / (budget + longer))


@given(evaluations(), SUCCESS, SUCCESS, BUDGET)
def test_the_last_evaluation_at_the_same_human_steps_counts(points, first, last, budget):
    at = points[-1][0] if points else 0.0
    assert mean_success([*points, (at, first), (at, last)], budget) == mean_success(
        [*points, (at, last)], budget
    )


def test_decreasing_or_negative_human_steps_are_refused():
    with pytest.raises(ValueError, match="decrease from 5 to 4"):
        mean_success([(5, 0.0), (4, 1.0)], 10)
    with pytest.raises(ValueError, match="decrease from 5 to 4"):
        success_at([(5, 0.0), (4, 1.0)], 10)
    with pytest.raises(ValueError, match="cannot be -1"):
        mean_success([(5, 0.0)], -1)
