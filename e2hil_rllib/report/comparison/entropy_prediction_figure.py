"""Figure 5, left, as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.report.comparison.entropy_prediction import (
    QUARTERS,
    EntropyChanges,
    Measure,
    correlations,
    in_words,
)
from e2hil_rllib.report.style import BLUE, GREY, ORANGE, STYLE

_QUARTER_COLOURS = ("#440154", "#31688e", "#35b779", "#c2a500")  # from dark to light
_QUARTER_MARKERS = "o^sD"


def draw_predictions(
    drawn: Mapping[str, tuple[Measure, Sequence[EntropyChanges]]], title: str, path: Path
) -> None:
    """Draws, for each method, its first seed over the steps, and all seeds against each other.

    Args:
        drawn: By method, what its predictions are set against, and the changes of its seeds; at
            least one method with at least one seed.
        title: Of the figure.
        path: The PNG to write.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.4, 4.0 * len(drawn) + 0.4), dpi=150, layout="constrained")
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        parts = figure.subfigures(len(drawn), 1, squeeze=False)[:, 0]
        for part, (method, (measure, seeds)) in zip(parts, drawn.items(), strict=True):
            _draw_method(part, method, measure, seeds)
        save_figure(figure, path)


def _draw_method(
    part: SubFigure, method: str, measure: Measure, seeds: Sequence[EntropyChanges]
) -> None:
    axes: dict[str, Axes] = part.subplot_mosaic(
        [["c", "pairs"], ["dh", "pairs"]], width_ratios=[1.25, 1]
    )
    first = seeds[0]
    for name, values, colour, label in (
        ("c", first.predicted, BLUE, measure.predicted),
        ("dh", first.measured, ORANGE, measure.measured),
    ):
        axes[name].axhline(0, color=GREY, linewidth=0.8)
        axes[name].plot(first.steps, values, color=colour, linewidth=1.2)
        axes[name].set_title(f"{method}, one seed, {label}", fontsize=10, fontweight="normal")
        _symmetric_log(axes[name], values, "y")
        axes[name].set_xlim(0, None)
        axes[name].xaxis.set_major_formatter(lambda s, _: f"{s:,.0f}".replace(",", "\u2009"))
    axes["c"].sharex(axes["dh"])
    axes["c"].tick_params(labelbottom=False)
    axes["dh"].set(xlabel="steps of the environment")
    _draw_pairs(axes["pairs"], measure, seeds)


def _draw_pairs(axes: Axes, measure: Measure, seeds: Sequence[EntropyChanges]) -> None:
    of_seeds = np.array([correlations(changes) for changes in seeds])
    for quarter in range(4):
        chosen = [changes.quarter == quarter for changes in seeds]
        axes.scatter(
            np.concatenate([c.predicted[m] for c, m in zip(seeds, chosen, strict=True)]),
            np.concatenate([c.measured[m] for c, m in zip(seeds, chosen, strict=True)]),
            s=11, color=_QUARTER_COLOURS[quarter], marker=_QUARTER_MARKERS[quarter], alpha=0.65,
            linewidths=0,
            label=f"{QUARTERS[quarter]} quarter:\n{in_words(of_seeds[:, 1 + quarter])}",
        )  # fmt: skip
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.axvline(0, color=GREY, linewidth=0.8)
    _symmetric_log(axes, np.concatenate([c.predicted for c in seeds]), "x")
    _symmetric_log(axes, np.concatenate([c.measured for c in seeds]), "y")
    axes.set(xlabel=measure.predicted, ylabel=measure.measured)
    axes.set_title(
        f"{measure.name}, iterations of all seeds ({len(seeds)})",
        fontsize=10, fontweight="normal",
    )  # fmt: skip
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9, markerscale=1.6,
        handletextpad=0.2, title_fontsize=9, alignment="left", labelspacing=0.9,
        title=f"Pearson / rank\ncorrelation\nall: {in_words(of_seeds[:, 0])}\n",
    )  # fmt: skip


def _symmetric_log(axes: Axes, values: np.ndarray, direction: Literal["x", "y"]) -> None:
    """Spreads values over decades on both sides of zero; about half of them stay linear."""
    middle = float(np.median(np.abs(values)))
    if not middle > 0 or np.abs(values).max() <= 20 * middle:
        return
    # A power of ten, since other thresholds have ticks that stand on that of zero.
    threshold = 10.0 ** round(math.log10(middle))
    set_scale = axes.set_xscale if direction == "x" else axes.set_yscale
    set_scale("symlog", linthresh=threshold)
    axis = axes.xaxis if direction == "x" else axes.yaxis
    # Margins of their own: those of the linear scale cut the largest values off.
    transform = axis.get_transform()
    ends = transform.transform(np.array([min(values.min(), 0), max(values.max(), 0)]))
    margin = 0.05 * (ends[1] - ends[0])
    low, high = transform.inverted().transform(np.array([ends[0] - margin, ends[1] + margin]))
    axes.set(**{f"{direction}lim": (low, high)})
