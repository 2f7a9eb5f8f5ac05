"""Curves of methods: pooling of seeds, and the visibility of every method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from e2hil_rllib.report.comparison.method_curves import (
    PANELS,
    Band,
    band_of,
    draw_methods,
    evaluated_series,
    looks_of,
    trained_series,
)
from e2hil_rllib.report.comparison.trials import METHODS
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode
from e2hil_rllib.run.progress import STEP


def test_seeds_are_pooled_over_the_steps_that_all_have() -> None:
    one = np.array([0.0, 100.0]), np.array([0.0, 100.0])
    other = np.array([50.0, 75.0, 200.0]), np.array([10.0, 10.0, 10.0])
    band = band_of([one, other])
    assert band is not None and (band.steps[0], band.steps[-1]) == (50, 100)
    assert np.allclose(band.mean, (band.steps + 10) / 2)
    assert np.allclose(band.low, 10) and np.allclose(band.high, band.steps)


def test_there_is_no_band_without_a_common_step() -> None:
    early, late = (np.array([0.0, 1.0]), np.zeros(2)), (np.array([1.0, 2.0]), np.zeros(2))
    assert band_of([]) is None and band_of([early, late]) is None
    assert band_of([early, (np.array([0.5]), np.zeros(1))]) is None


def test_evaluations_are_rates_by_step() -> None:
    solved = [(20, True), (10, False), (10, True), (20, True), (10, None)]
    steps, rates = evaluated_series(
        [EvaluatedEpisode(step, 0, success, 9, 1.0) for step, success in solved]
    )
    assert steps.tolist() == [10, 20] and rates.tolist() == [0.5, 1]
    assert len(evaluated_series([])[0]) == 0


def test_rows_without_a_value_are_skipped() -> None:
    columns = {STEP: np.array([1.0, 2, 3]), PANELS[1].column: np.array([np.nan, 0.5, 0.6])}
    assert [x.tolist() for x in trained_series(columns, PANELS[1])] == [[2, 3], [0.5, 0.6]]
    assert len(trained_series(columns, PANELS[2])[0]) == 0


def test_all_methods_are_drawn_each_in_its_colour(tmp_path: Path) -> None:
    looks = looks_of(METHODS)
    steps = np.linspace(0, 100, 200)
    bands = {
        method: Band(
            steps, *(np.full(200, (n + 1 + d) / (len(METHODS) + 2)) for d in (0, -0.2, 0.2))
        )
        for n, method in enumerate(METHODS)
    }
    draw_methods({PANELS[0]: bands}, looks, "task", tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    for method, look in looks.items():
        colour = np.array([round(255 * part) for part in to_rgb(look.colour)])
        alike = (np.abs(pixels - colour).max(axis=-1) < 6).sum()
        assert alike > 200, f"{method} is not to be seen"


def test_looks_are_distinct_and_stable() -> None:
    looks = looks_of([*METHODS, "mine", "yours"])
    assert len({(look.colour, look.dashes) for look in looks.values()}) == len(METHODS) + 2
    assert len({look.marker for look in looks.values()}) == len(METHODS) + 2
    assert looks_of(["random"])["random"] == looks["random"]
