"""Figure 5, left: does the influence of the samples predict how the entropy changes?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from e2hil_rllib.progress import STEP
from e2hil_rllib.report.curves import Columns
from e2hil_rllib.report.page import Table
from e2hil_rllib.report.statistics import pearson, spearman
from e2hil_rllib.report.style import BLUE, GREY, ORANGE, STYLE

_LEARNER = "learners/default_policy/"
PREDICTED = _LEARNER + "entropy_change"
ENTROPY = _LEARNER + "policy_entropy"
UPDATES = "num_updates_lifetime"

#: Iterations that a correlation needs.
_FEWEST = 8

_PREDICTED = "predicted: mean c [nats / unit step]"
_MEASURED = "measured [nats / 1000 updates]"

_QUARTERS = ("1st", "2nd", "3rd", "4th")
_QUARTER_COLOURS = ("#440154", "#31688e", "#35b779", "#c2a500")  # from dark to light
_QUARTER_MARKERS = "o^sD"


@dataclass(frozen=True)
class EntropyChanges:
    """Predicted and measured change of a run's iterations, each of shape (n,).

    Attributes:
        steps: Of the environment, at the end of each iteration.
        predicted: Mean of c over the judged minibatches of the iteration: the change of entropy
            for a step of size 1 on the policy's logits (Eq. 9) [nats].
        measured: Slope of the entropy around the iteration [nats per 1000 updates].
        quarter: Of training, 0 to 3.
    """

    steps: np.ndarray
    predicted: np.ndarray
    measured: np.ndarray
    quarter: np.ndarray


def entropy_changes(columns: Columns) -> EntropyChanges | None:
    """Takes the changes from the columns of a `progress.csv`.

    An iteration's slope is taken between the iterations before and after it, whose entropies are
    means over their updates. An iteration without a judged minibatch has no prediction.

    Returns:
        None where a column is missing, or no iteration has both changes.
    """
    if not {PREDICTED, ENTROPY, UPDATES} <= columns.keys():
        return None
    table = np.stack([columns[name] for name in (STEP, ENTROPY, UPDATES, PREDICTED)])
    table = table[:, np.isfinite(table[:3]).all(axis=0)]
    table = table[:, np.diff(table[2], prepend=-1) > 0]  # otherwise nothing was learned since
    steps, entropy, updates, predicted = table
    slope = 1000 * (entropy[2:] - entropy[:-2]) / (updates[2:] - updates[:-2])
    both = np.isfinite(predicted[1:-1])
    if not both.any():
        return None
    at = steps[1:-1][both]
    quarter = np.minimum(4 * (at - 1e-9) // columns[STEP][-1], 3).astype(int)
    return EntropyChanges(at, predicted[1:-1][both], slope[both], quarter)


def correlations(changes: EntropyChanges) -> list[tuple[float, float]]:
    """Pearson's and the rank correlation, over all of training and over each quarter.

    Both are NaN for fewer than eight iterations, of which any correlation may come by chance.
    """
    parts = [np.ones(len(changes.steps), bool), *(changes.quarter == q for q in range(4))]
    pairs = [(changes.predicted[part], changes.measured[part]) for part in parts]
    nothing = (math.nan, math.nan)
    return [
        (pearson(*pair), spearman(*pair)) if len(pair[0]) >= _FEWEST else nothing for pair in pairs
    ]


def correlation_table(by_method: Mapping[str, Sequence[EntropyChanges]], task: str) -> Table:
    """Both correlations of each method, means over its seeds."""
    rows = []
    for method, seeds in by_method.items():
        of_seeds = np.array([correlations(changes) for changes in seeds])
        cells = [_pair(of_seeds[:, part]) for part in range(5)]
        iterations = sum(len(changes.steps) for changes in seeds)
        rows.append((task, method, str(len(seeds)), str(iterations), *cells))
    quarters = [f"{name} quarter" for name in _QUARTERS]
    return ("task", "method", "seeds", "iterations", "Pearson / rank: all", *quarters), rows


def draw_predictions(
    by_method: Mapping[str, Sequence[EntropyChanges]], title: str, path: Path
) -> None:
    """Draws, for each method, its first seed over the steps, and all seeds against each other.

    Args:
        by_method: At least one method with at least one seed.
        title: Of the figure.
        path: The PNG to write.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.4, 4.0 * len(by_method) + 0.4), dpi=150, layout="constrained")
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        parts = figure.subfigures(len(by_method), 1, squeeze=False)[:, 0]
        for part, (method, seeds) in zip(parts, by_method.items(), strict=True):
            _draw_method(part, method, seeds)
        figure.savefig(path, format="png")


def _draw_method(part: SubFigure, method: str, seeds: Sequence[EntropyChanges]) -> None:
    axes: dict[str, Axes] = part.subplot_mosaic(
        [["c", "pairs"], ["dh", "pairs"]], width_ratios=[1.25, 1]
    )
    first = seeds[0]
    for name, values, colour, label in (
        ("c", first.predicted, BLUE, _PREDICTED),
        ("dh", first.measured, ORANGE, _MEASURED),
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
    _draw_pairs(axes["pairs"], seeds)


def _draw_pairs(axes: Axes, seeds: Sequence[EntropyChanges]) -> None:
    of_seeds = np.array([correlations(changes) for changes in seeds])
    for quarter in range(4):
        chosen = [changes.quarter == quarter for changes in seeds]
        axes.scatter(
            np.concatenate([c.predicted[m] for c, m in zip(seeds, chosen, strict=True)]),
            np.concatenate([c.measured[m] for c, m in zip(seeds, chosen, strict=True)]),
            s=11, color=_QUARTER_COLOURS[quarter], marker=_QUARTER_MARKERS[quarter], alpha=0.65,
            linewidths=0, label=f"{_QUARTERS[quarter]} quarter:\n{_pair(of_seeds[:, 1 + quarter])}",
        )  # fmt: skip
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.axvline(0, color=GREY, linewidth=0.8)
    _symmetric_log(axes, np.concatenate([c.predicted for c in seeds]), "x")
    _symmetric_log(axes, np.concatenate([c.measured for c in seeds]), "y")
    axes.set(xlabel=_PREDICTED, ylabel=_MEASURED)
    axes.set_title(f"iterations of all seeds ({len(seeds)})", fontsize=10, fontweight="normal")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9, markerscale=1.6,
        handletextpad=0.2, title_fontsize=9, alignment="left", labelspacing=0.9,
        title=f"Pearson / rank\ncorrelation\nall: {_pair(of_seeds[:, 0])}\n",
    )  # fmt: skip


def _symmetric_log(axes: Axes, values: np.ndarray, axis: str) -> None:
    """Spreads values over decades on both sides of zero; the smaller half of them stays linear."""
    middle = float(np.median(np.abs(values)))
    if middle > 0 and np.abs(values).max() > 20 * middle:
        setter = axes.set_xscale if axis == "x" else axes.set_yscale
        setter("symlog", linthresh=middle)


def _pair(of_seeds: np.ndarray) -> str:
    """Pearson's and the rank correlation, means over the seeds (n, 2) that have them."""
    known = [column[np.isfinite(column)] for column in of_seeds.T]
    if not all(len(column) for column in known):
        return "too few"
    return " / ".join(f"{column.mean():+.2f}" for column in known)
