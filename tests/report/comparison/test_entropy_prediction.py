"""Predicted and measured change of entropy from a run's rows, and their figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from e2hil_rllib.report.comparison.entropy_prediction import (
    ENTROPY,
    MEASURED,
    MEASURES,
    PREDICTED,
    PREDICTED_LEARNED,
    UPDATES,
    EntropyChanges,
    _symmetric_log,
    correlation_table,
    correlations,
    draw_predictions,
    slope_changes,
    update_changes,
)
from e2hil_rllib.run.progress import STEP

Columns = dict[str, np.ndarray]
SAME_UPDATES, SLOPE = MEASURES


def quadratic(n: int = 41) -> Columns:
    """Its slope is exactly t / 50 nats a step of 200 updates; the prediction is proportional."""
    t = np.arange(n, dtype=float)
    steps = 100 * (t + 1)
    return {STEP: steps, UPDATES: 2 * steps, ENTROPY: t**2 / 100, PREDICTED: 7 * t}


def opposed() -> Columns:
    """As `quadratic`, whose slope agrees, but the updates did the cube of what was predicted.

    They did it with a minus in the second half of training. A quarter is a period of ten rows.
    """
    columns = quadratic(40)
    predicted = np.sin(2 * np.pi * np.arange(40) / 10 + 0.3)
    sign = np.where(columns[STEP] > columns[STEP][-1] / 2, -1, 1)
    return columns | {PREDICTED_LEARNED: predicted, MEASURED: sign * predicted**3 / 1000}


def known(changes: EntropyChanges | None) -> EntropyChanges:
    assert changes is not None
    return changes


def test_the_slope_is_that_around_an_iteration() -> None:
    changes = known(slope_changes(quadratic()))
    t = np.arange(1.0, 40)
    assert np.allclose(changes.measured, 1000 * t / 50 / 200)
    assert np.allclose(changes.predicted, 7 * t) and np.allclose(changes.steps, 100 * (t + 1))
    assert changes.quarter[[0, -1]].tolist() == [0, 3]
    assert np.allclose(correlations(changes), 1)


def test_updates_are_compared_with_their_own_effect() -> None:
    columns = opposed()
    changes = known(update_changes(columns))
    assert np.array_equal(changes.steps, columns[STEP])
    assert np.array_equal(changes.predicted, columns[PREDICTED_LEARNED])
    assert np.array_equal(changes.measured, columns[MEASURED])
    # A cube has the ranks of its argument, and a sine E[x⁴] / sqrt(E[x²] E[x⁶]) = 3 / sqrt(10).
    pearson = 3 / np.sqrt(10)
    everything, *quarters = correlations(changes)
    assert everything[0] == pytest.approx(0, abs=1e-9) and abs(everything[1]) < 0.1
    for pair, sign in zip(quarters, (1, 1, -1, -1), strict=True):
        assert pair == pytest.approx((sign * pearson, sign))
    assert np.allclose(correlations(known(slope_changes(columns))), 1)


def test_iterations_without_a_judged_minibatch_still_have_an_entropy() -> None:
    columns = quadratic()
    sparse = np.arange(41) % 2 == 0
    columns[PREDICTED] = np.where(sparse, columns[PREDICTED], np.nan)
    changes, whole = known(slope_changes(columns)), known(slope_changes(quadratic()))
    assert np.allclose(changes.measured, whole.measured[1::2])
    assert len(changes.steps) == 19


def test_few_iterations_have_no_correlation() -> None:
    changes = known(slope_changes(quadratic(14)))
    assert len(changes.steps) == 12
    everything, *quarters = correlations(changes)
    assert everything == pytest.approx((1, 1)) and np.isnan(quarters).all()
    _, (row,) = correlation_table({"e2hil": {SLOPE: [changes]}}, "reach")
    assert row[5:7] == ("+1.00 / +1.00", "too few")


@pytest.mark.parametrize("missing", [PREDICTED, ENTROPY, UPDATES])
def test_without_a_column_there_is_no_slope(missing: str) -> None:
    columns = quadratic()
    del columns[missing]
    assert slope_changes(columns) is None
    columns = quadratic()
    columns[missing] = np.full(41, np.nan)
    assert slope_changes(columns) is None
    assert slope_changes(quadratic(2)) is None


@pytest.mark.parametrize("missing", [PREDICTED_LEARNED, MEASURED, UPDATES])
def test_without_a_column_there_are_no_update_changes(missing: str) -> None:
    columns = opposed()
    del columns[missing]
    assert update_changes(columns) is None
    assert update_changes(opposed() | {missing: np.full(40, np.nan)}) is None
    some = opposed()
    some[missing][3] = np.nan
    assert 3 not in (known(update_changes(some)).steps / 100 - 1).round().tolist()


def test_iterations_before_learning_starts_are_skipped() -> None:
    columns = opposed()
    columns[UPDATES][:5] = columns[UPDATES][4]
    slope, updates = known(slope_changes(columns)), known(update_changes(columns))
    assert np.isfinite(slope.measured).all() and len(slope.steps) == 34
    assert updates.steps.tolist() == [columns[STEP][0], *columns[STEP][5:]]


def test_the_table_names_the_measure_of_each_row() -> None:
    random = np.random.default_rng(0)
    one, other = opposed(), opposed()
    other[MEASURED] = random.normal(size=40) * np.exp(random.normal(0, 4, 40))
    updates = [known(update_changes(columns)) for columns in (one, other)]
    found = {
        "e2hil": {SAME_UPDATES: updates, SLOPE: [known(slope_changes(one))]},
        "hil_serl": {SLOPE: [known(slope_changes(quadratic()))]},
    }
    head, rows = correlation_table(found, "reach")
    assert [row[:5] for row in rows] == [
        ("reach", "e2hil", "same updates", "2", "80"),
        ("reach", "e2hil", "slope over iterations", "1", "38"),
        ("reach", "hil_serl", "slope over iterations", "1", "39"),
    ]
    assert {len(row) for row in rows} == {len(head)} == {10}
    for part in (0, 4):
        means = np.mean([correlations(changes)[part] for changes in updates], axis=0)
        assert rows[0][5 + part] == f"{means[0]:+.2f} / {means[1]:+.2f}"
    assert rows[1][5] == "+1.00 / +1.00"


def changes(seed: int) -> EntropyChanges:
    """Over many decades, as early and late training have them."""
    random = np.random.default_rng(seed)
    predicted = random.normal(size=40) * np.exp(random.normal(0, 4, 40))
    return EntropyChanges(100.0 * np.arange(40), predicted, predicted * 0.01, np.arange(40) // 10)


def coloured(path: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return (pixels.max(axis=-1) - pixels.min(axis=-1)) > 80


def test_each_method_has_its_own_part_of_the_figure(tmp_path: Path) -> None:
    seeds = [changes(0), changes(1)]
    draw_predictions({"e2hil": (MEASURES[0], seeds)}, "reach", tmp_path / "one.png")
    both = {"e2hil": (MEASURES[0], seeds), "hil_serl": (MEASURES[1], [changes(2)])}
    draw_predictions(both, "reach", tmp_path / "two.png")
    one, two = coloured(tmp_path / "one.png"), coloured(tmp_path / "two.png")
    assert one.shape[1] > 1000 and two.shape[0] > 1.8 * one.shape[0]
    middle = two.shape[0] // 2
    assert one.sum() > 1000 and two[:middle].sum() > 1000 and two[middle:].sum() > 1000


def test_the_largest_values_are_not_cut_off() -> None:
    axes = Figure().subplots()
    values = np.array([-2.0, 1e-4, 2e-4, 3e-4, 50.0])
    axes.scatter(values, values)
    _symmetric_log(axes, values, "x")
    low, high = axes.get_xlim()
    assert low < -2.5 and high > 60
    _symmetric_log(axes, np.linspace(1, 2, 5), "y")
    assert (axes.get_xscale(), axes.get_yscale()) == ("symlog", "linear")
