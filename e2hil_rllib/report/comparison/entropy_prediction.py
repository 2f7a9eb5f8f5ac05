"""Figure 5, left: change of entropy, predicted from the samples' influence and measured.

There are two measures. The change made by the judged actor updates themselves tests Eq. 9. The
slope of the entropy over iterations, with which the paper compares, also contains the effect of all
the other updates, on other samples and other states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.report.comparison.statistics import pearson, spearman
from e2hil_rllib.report.page import Table
from e2hil_rllib.report.run.curves import Columns
from e2hil_rllib.report.style import BLUE, GREY, ORANGE, STYLE
from e2hil_rllib.run.progress import STEP

_LEARNER = "learners/default_policy/"
PREDICTED = _LEARNER + "entropy_change"
PREDICTED_LEARNED = _LEARNER + "entropy_change_learned"
MEASURED = _LEARNER + "entropy_change_measured"
ENTROPY = _LEARNER + "policy_entropy"
UPDATES = "num_updates_lifetime"

_FEWEST = 8  # iterations that a correlation needs

QUARTERS = ("1st", "2nd", "3rd", "4th")
_QUARTER_COLOURS = ("#440154", "#31688e", "#35b779", "#c2a500")  # from dark to light
_QUARTER_MARKERS = "o^sD"


@dataclass(frozen=True)
class EntropyChanges:
    """Predicted and measured change of entropy in a run's iterations, each of shape (n,).

    Attributes:
        steps: Environment steps at the end of each iteration.
        predicted: Mean of c over judged minibatches of the iteration: the change of entropy for a
            step of size 1 on the policy's logits (Eq. 9) [nats].
        measured: Measured change; its unit depends on the ``Measure``.
        quarter: Quarter of training, 0 to 3.
    """

    steps: np.ndarray
    predicted: np.ndarray
    measured: np.ndarray
    quarter: np.ndarray


@dataclass(frozen=True)
class Measure:
    """Measure of the change of entropy, to compare predictions with.

    Attributes:
        name: Name in tables and titles.
        predicted: Axis label of the prediction.
        measured: Axis label of the measured change.
        changes: Function from the columns of a ``progress.csv`` to both.
    """

    name: str
    predicted: str
    measured: str
    changes: Callable[[Columns], EntropyChanges | None]


def update_changes(columns: Columns) -> EntropyChanges | None:
    """Return the predicted and the measured effect of the judged actor updates.

    Predicted is the mean of c over the samples that the actor learned from, measured the change of
    the entropy at the states of the same minibatch, by the same draws [nats per update].

    Returns:
        None where a column is missing, as in runs of earlier versions, or no iteration has both.
    """
    learned = _rows_of_learning(columns, PREDICTED_LEARNED, MEASURED)
    if learned is None:
        return None
    steps, predicted, measured = learned
    return _of_iterations(steps, predicted, measured, columns[STEP][-1])


def slope_changes(columns: Columns) -> EntropyChanges | None:
    """Return the prediction of the judged minibatches, and the slope of the entropy around them.

    The slope is that between the iterations before and after, whose entropies are means over their
    updates [nats per 1000 updates].

    Returns:
        None where a column is missing, or no iteration has both.
    """
    learned = _rows_of_learning(columns, ENTROPY, UPDATES, PREDICTED)
    if learned is None:
        return None
    table = np.stack(learned)
    steps, entropy, updates, predicted = table[:, np.isfinite(table[1])]
    slope = 1000 * (entropy[2:] - entropy[:-2]) / (updates[2:] - updates[:-2])
    return _of_iterations(steps[1:-1], predicted[1:-1], slope, columns[STEP][-1])


# The first of them that a run has is drawn.
MEASURES = (
    Measure(
        "same updates",
        "predicted: mean c learned from [nats / unit step]",
        "measured: same updates [nats / update]",
        update_changes,
    ),
    Measure(
        "slope over iterations",
        "predicted: mean c [nats / unit step]",
        "measured: slope [nats / 1000 updates]",
        slope_changes,
    ),
)


def correlations(changes: EntropyChanges) -> list[tuple[float, float]]:
    """Return Pearson's and the rank correlation, over all of training and over each quarter.

    Both are NaN for fewer than eight iterations, whose correlation may be mere chance.
    """
    parts = [np.ones(len(changes.steps), bool), *(changes.quarter == q for q in range(4))]
    pairs = [(changes.predicted[part], changes.measured[part]) for part in parts]
    nothing = (math.nan, math.nan)
    return [
        (pearson(*pair), spearman(*pair)) if len(pair[0]) >= _FEWEST else nothing for pair in pairs
    ]


def correlation_table(
    found: Mapping[str, Mapping[Measure, Sequence[EntropyChanges]]], task: str
) -> Table:
    """Return both correlations, means over seeds: a row for each method and measure.

    Args:
        found: Changes of at least one seed, by method and measure.
        task: Name of the task.
    """
    rows = []
    for method, by_measure in found.items():
        for measure, seeds in by_measure.items():
            of_seeds = np.array([correlations(changes) for changes in seeds])
            cells = [in_words(of_seeds[:, part]) for part in range(5)]
            iterations = sum(len(changes.steps) for changes in seeds)
            rows.append((task, method, measure.name, str(len(seeds)), str(iterations), *cells))
    quarters = [f"{name} quarter" for name in QUARTERS]
    head = ("task", "method", "measured", "seeds", "iterations", "Pearson / rank: all", *quarters)
    return head, rows


def in_words(of_seeds: np.ndarray) -> str:
    """Return Pearson's and the rank correlation in words: means over the seeds, shape (n, 2)."""
    known = [column[np.isfinite(column)] for column in of_seeds.T]
    if not all(len(column) for column in known):
        return "too few"
    return " / ".join(f"{column.mean():+.2f}" for column in known)


def _rows_of_learning(columns: Columns, *names: str) -> list[np.ndarray] | None:
    """Return the steps and some columns, without iterations that had no update.

    Returns:
        None where a column is missing.
    """
    if not {UPDATES, *names} <= columns.keys():
        return None
    known = np.isfinite(columns[STEP]) & np.isfinite(columns[UPDATES])
    learned = np.flatnonzero(known)[np.diff(columns[UPDATES][known], prepend=-1) > 0]
    return [columns[name][learned] for name in (STEP, *names)]


def _of_iterations(
    steps: np.ndarray, predicted: np.ndarray, measured: np.ndarray, end: float
) -> EntropyChanges | None:
    """Return the changes of the iterations that have both; None if there are none."""
    both = np.isfinite(predicted) & np.isfinite(measured)
    if not both.any():
        return None
    quarter = np.minimum(4 * (steps[both] - 1e-9) // end, 3).astype(int)
    return EntropyChanges(steps[both], predicted[both], measured[both], quarter)


def draw_predictions(
    drawn: Mapping[str, tuple[Measure, Sequence[EntropyChanges]]], title: str, path: Path
) -> None:
    """Draw for each method its first seed over the steps, and a scatter of all seeds.

    Args:
        drawn: Measure, and changes of its seeds, by method; at least one method with a seed.
        title: Title of the figure.
        path: PNG file to write.

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
    """Spread values over decades on both sides of zero; about half of them stay linear."""
    middle = float(np.median(np.abs(values)))
    if not middle > 0 or np.abs(values).max() <= 20 * middle:
        return
    # A power of ten, since ticks of other thresholds overlap that of zero.
    threshold = 10.0 ** round(math.log10(middle))
    set_scale = axes.set_xscale if direction == "x" else axes.set_yscale
    set_scale("symlog", linthresh=threshold)
    axis = axes.xaxis if direction == "x" else axes.yaxis
    # Own margins: those of the linear scale cut the largest values off.
    transform = axis.get_transform()
    ends = transform.transform(np.array([min(values.min(), 0), max(values.max(), 0)]))
    margin = 0.05 * (ends[1] - ends[0])
    low, high = transform.inverted().transform(np.array([ends[0] - margin, ends[1] + margin]))
    axes.set(**{f"{direction}lim": (low, high)})
