"""The picture of predicted and measured changes of entropy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from e2hil_rllib.report.comparison.entropy_prediction import MEASURES, EntropyChanges
from e2hil_rllib.report.comparison.entropy_prediction_figure import _symmetric_log, draw_predictions


def changes(seed: int) -> EntropyChanges:
    """Over many decades, as early and late training have them."""
    random = np.random.default_rng(seed)
    predicted = random.normal(size=40) * np.exp(random.normal(0, 4, 40))
    return EntropyChanges(100.0 * np.arange(40), predicted, predicted * 0.01, np.arange(40) // 10)


def coloured(path: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return (pixels.max(axis=-1) - pixels.min(axis=-1)) > 80


def test_each_method_has_a_part_of_its_own(tmp_path: Path) -> None:
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
