"""Rates with their intervals, the choice of the threshold, and figures of episodes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.classifier.metrics import (
    Proportion,
    average_precision,
    episode_figures,
    first_success,
    frame_figures,
    precision_recall,
    threshold_at,
)

SCORED = st.lists(
    st.tuples(st.sampled_from([k / 16 for k in range(17)]), st.booleans()), min_size=1
).filter(lambda rows: not all(truth for _, truth in rows))


def test_wilsons_interval_is_that_of_the_literature() -> None:
    low, high = Proportion(8, 10).interval  # Brown, Cai, DasGupta 2001's formula, by hand
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Proportion(0, 50).interval == pytest.approx((0, 0.0713), abs=1e-4)
    assert Proportion(50, 50).interval == pytest.approx((0.9287, 1), abs=1e-4)


def test_a_proportion_of_a_total_of_0_is_unknown() -> None:
    nothing = Proportion(0, 0)
    assert math.isnan(nothing.value) and nothing.interval == (0, 1)
    assert nothing.as_dict()["share"] is None and "–" in str(nothing)


def test_a_proportion_says_its_counts() -> None:
    assert str(Proportion(8, 10)) == "80.0 % (8 of 10; 49.0 to 94.3 %)"
    assert Proportion(8, 10).as_dict() == {
        "share": 0.8, "count": 8, "total": 10,
        "low": pytest.approx(0.4902, abs=1e-4), "high": pytest.approx(0.9433, abs=1e-4),
    }  # fmt: skip


@given(rows=SCORED, rate=st.sampled_from([0.0, 0.01, 0.1, 0.3]))
def test_no_more_failures_pass_than_allowed_and_no_lower_threshold_would_do(
    rows: list[tuple[float, bool]], rate: float
) -> None:
    scores, truth = (np.array(column) for column in zip(*rows, strict=True))
    threshold = threshold_at(scores, truth, rate)
    allowed = math.floor(rate * (~truth).sum())
    passed = ((scores >= threshold) & ~truth).sum()
    assert threshold >= 0.5
    assert passed <= allowed
    lower = scores[(scores < threshold) & (scores >= 0.5)]
    if lower.size:
        assert ((scores >= lower.max()) & ~truth).sum() > allowed


def test_the_threshold_lies_halfway_between_in_and_out() -> None:
    scores = np.array([0.1, 0.6, 0.7, 0.8, 0.9])
    truth = np.array([False, False, True, False, True])
    assert threshold_at(scores, truth, 0.0) == pytest.approx(0.85)
    assert threshold_at(scores, truth, 0.4) == pytest.approx(0.65)
    assert threshold_at(scores, truth, 0.9) == 0.5


def test_frames_are_counted_by_the_threshold() -> None:
    scores = np.array([0.9, 0.5, 0.4, 0.7, 0.2, 0.1])
    truth = np.array([True, True, True, False, False, False])
    assert frame_figures(scores, truth, 0.5) == {
        "recall": Proportion(2, 3),
        "precision": Proportion(2, 3),
        "false_positive_rate": Proportion(1, 3),
    }


def test_average_precision_is_one_only_for_a_perfect_order() -> None:
    truth = np.array([True, True, False, False])
    assert average_precision(np.array([0.9, 0.8, 0.3, 0.1]), truth) == 1
    assert average_precision(np.array([0.9, 0.3, 0.8, 0.1]), truth) == pytest.approx(5 / 6)
    assert average_precision(np.full(4, 0.5), truth) == 0.5  # ties count as one threshold


def test_the_curve_has_one_point_for_each_distinct_score() -> None:
    scores = np.array([0.9, 0.9, 0.5, 0.1])
    precision, recall = precision_recall(scores, np.array([True, False, True, False]))
    assert precision.tolist() == pytest.approx([1 / 2, 2 / 3, 1 / 2])
    assert recall.tolist() == [0.5, 1, 1]


def test_the_frame_of_the_reset_counts_but_never_succeeds() -> None:
    assert first_success(np.array([True, False, False]), 1, 1) is None
    assert first_success(np.array([True, True]), 2, 3) == 1
    assert first_success(np.array([True, False, True]), 2, 3) == 2
    assert first_success(np.array([False, True, False, False, True]), 2, 3) is None


def test_episodes_are_found_missed_or_ended_too_early() -> None:
    truth = [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    predicted = [[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    to_bool = [[np.array(row, bool) for row in rows] for rows in (predicted, truth)]
    assert episode_figures(*to_bool, 1, 1) == {
        "found": Proportion(1, 3),
        "false_end": Proportion(2, 5),
    }
    assert episode_figures(*to_bool, 2, 2) == {
        "found": Proportion(1, 3),  # the second one now ends with the truth, the first never
        "false_end": Proportion(0, 5),
    }
