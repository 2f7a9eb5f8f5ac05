"""Predicted and measured change of entropy: how they are taken from a run's rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2hil_rllib.progress import STEP
from e2hil_rllib.report.entropy_prediction import (
    ENTROPY,
    PREDICTED,
    UPDATES,
    correlation_table,
    correlations,
    draw_predictions,
    entropy_changes,
)

Columns = dict[str, np.ndarray]


def columns_of(entropy: np.ndarray, predicted: np.ndarray) -> Columns:
    steps = 100.0 * np.arange(1, len(entropy) + 1)
    return {STEP: steps, UPDATES: 2 * steps, ENTROPY: entropy, PREDICTED: predicted}


def quadratic(n: int = 41) -> Columns:
    """Its slope is exactly t / 50 nats a step of 200 updates; the prediction is proportional."""
    t = np.arange(n, dtype=float)
    return columns_of(t**2 / 100, 7 * t)


def test_the_slope_is_that_around_an_iteration() -> None:
    changes = entropy_changes(quadratic())
    assert changes is not None
    t = np.arange(1.0, 40)
    assert np.allclose(changes.measured, 1000 * t / 50 / 200)
    assert np.allclose(changes.predicted, 7 * t) and np.allclose(changes.steps, 100 * (t + 1))
    assert changes.quarter[[0, -1]].tolist() == [0, 3]
    assert np.allclose(correlations(changes), 1)


def test_iterations_without_a_judged_minibatch_still_tell_the_entropy() -> None:
    columns = quadratic()
    sparse = np.arange(41) % 2 == 0
    columns[PREDICTED] = np.where(sparse, columns[PREDICTED], np.nan)
    changes, whole = entropy_changes(columns), entropy_changes(quadratic())
    assert changes is not None and whole is not None
    assert np.allclose(changes.measured, whole.measured[1::2])
    assert len(changes.steps) == 19


def test_few_iterations_have_no_correlation() -> None:
    changes = entropy_changes(quadratic(14))
    assert changes is not None and len(changes.steps) == 12
    everything, *quarters = correlations(changes)
    assert everything == pytest.approx((1, 1)) and np.isnan(quarters).all()
    _, (row,) = correlation_table({"e2hil": [changes]}, "reach")
    assert row[4:6] == ("+1.00 / +1.00", "too few")


@pytest.mark.parametrize("missing", [PREDICTED, ENTROPY, UPDATES])
def test_without_a_column_there_is_nothing(missing: str) -> None:
    columns = quadratic()
    del columns[missing]
    assert entropy_changes(columns) is None
    columns = quadratic()
    columns[missing] = np.full(41, np.nan)
    assert entropy_changes(columns) is None
    assert entropy_changes(quadratic(2)) is None


def test_iterations_before_learning_begins_are_passed_over() -> None:
    columns = quadratic()
    columns[UPDATES][:5] = columns[UPDATES][4]
    changes = entropy_changes(columns)
    assert changes is not None and np.isfinite(changes.measured).all()
    assert len(changes.steps) == 35


def test_correlations_stand_in_the_table_and_the_figure_is_drawn(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    one, other = quadratic(), quadratic()
    other[PREDICTED] = random.normal(size=41) * np.exp(random.normal(0, 4, 41))
    seeds = [c for columns in (one, other) if (c := entropy_changes(columns)) is not None]
    head, (row,) = correlation_table({"e2hil": seeds}, "reach")
    assert row[:4] == ("reach", "e2hil", "2", "78") and len(head) == len(row) == 9
    means = np.mean([correlations(changes)[0] for changes in seeds], axis=0)
    assert row[4] == f"{means[0]:+.2f} / {means[1]:+.2f}"
    draw_predictions({"e2hil": seeds}, "reach", tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size[0] > 1000
