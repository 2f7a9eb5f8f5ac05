"""Curves of a run over its steps, each figure a PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from e2hil_rllib.data.transitions import SOURCE_NAMES
from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.report.style import BLUE, COLOUR_OF_SOURCE, GREEN, GREY, ORANGE, STYLE
from e2hil_rllib.run.progress import STEP

Columns = dict[str, np.ndarray]

_RUNNERS = "env_runners/"
_LEARNER = "learners/default_policy/"


@dataclass(frozen=True)
class Curve:
    """Line of a figure: its column, its name and its look."""

    column: str
    label: str
    colour: str
    style: str = "-"
    scale: float = 1.0
    marker: str = ""


@dataclass(frozen=True)
class Plot:
    """Figure: file name, title, axis and lines."""

    name: str
    title: str
    axis: str
    curves: Sequence[Curve]
    adjust: Callable[[Axes], None] = lambda axes: None


def _percent_axis(axes: Axes) -> None:
    axes.set_ylim(-2, 102)


def _logarithmic_axis(axes: Axes) -> None:
    axes.set_yscale("log")


PLOTS = (
    Plot(
        "success",
        "Success in training, mean of the last 100 episodes",
        "episodes [%]",
        (
            Curve(_RUNNERS + "success_rate", "with the human's help", BLUE, scale=100),
            Curve(_RUNNERS + "autonomous_success_rate", "without a human step", GREEN, scale=100),
            Curve("evaluation/success_rate", "evaluation", ORANGE, "", 100, "D"),
        ),
        _percent_axis,
    ),
    Plot(
        "intervention",
        "Intervention rate, mean of the last 100 episodes",
        "steps led by the human [%]",
        (Curve(_RUNNERS + "intervention_rate", "", ORANGE, scale=100),),
        _percent_axis,
    ),
    Plot(
        "return",
        "Return in training, mean of the last 100 episodes",
        "sum of rewards",
        (
            Curve(_RUNNERS + "episode_return_mean", "training", BLUE),
            Curve("evaluation/episode_return_mean", "evaluation", ORANGE, "", 1.0, "D"),
        ),
    ),
    Plot(
        "entropy",
        "Entropy of the policy",
        "entropy [nats]",
        (Curve(_LEARNER + "policy_entropy", "", BLUE),),
    ),
    Plot(
        "temperature",
        "Temperature",
        "α",
        (Curve(_LEARNER + "temperature", "", ORANGE),),
        _logarithmic_axis,
    ),
    Plot(
        "influence_bounds",
        "Influence on the entropy: mean and bounds of the selection",
        "|c|",
        (
            Curve(_LEARNER + "influence_upper", "upper bound u", GREY, "--"),
            Curve(_LEARNER + "influence_mean", "mean of the batch", BLUE),
            Curve(_LEARNER + "influence_lower", "lower bound ℓ", GREY, ":"),
        ),
        _logarithmic_axis,
    ),
    Plot(
        "influence_by_source",
        "Influence on the entropy by the source of the samples",
        "mean |c|",
        tuple(
            Curve(f"{_LEARNER}influence_mean_{source}", source, COLOUR_OF_SOURCE[source])
            for source in SOURCE_NAMES
        ),
        _logarithmic_axis,
    ),
    Plot(
        "kept_by_source",
        "Samples that the actor learns from, by their source",
        "kept [%]",
        (
            Curve(_LEARNER + "kept_fraction", "all", GREY, "--", 100),
            *(
                Curve(
                    f"{_LEARNER}kept_fraction_{source}", source, COLOUR_OF_SOURCE[source], "-", 100
                )
                for source in SOURCE_NAMES
            ),
        ),
        _percent_axis,
    ),
)


def draw(plot: Plot, columns: Columns, path: Path) -> bool:
    """Draw a figure of the columns that a run has.

    Args:
        plot: Figure to draw.
        columns: Columns of ``progress.csv``; NaN where a row has no value.
        path: PNG file to write.

    Returns:
        False if there was no finite number to draw, and nothing is written.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    lines = [(curve, *_finite(columns, curve)) for curve in plot.curves]
    lines = [line for line in lines if len(line[1])]
    if not lines:
        return False
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4), dpi=150, layout="constrained")
        axes = figure.subplots()
        for curve, steps, values in lines:
            # A lone point would be invisible as a line.
            marker = curve.marker or ("o" if len(steps) == 1 else "")
            axes.plot(
                steps, values, curve.style, color=curve.colour, label=curve.label,
                marker=marker, linewidth=1.6, markersize=5,
            )  # fmt: skip
        plot.adjust(axes)
        axes.set(title=plot.title, xlabel="steps of the environment", ylabel=plot.axis)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}".replace(",", "\u2009"))
        if any(curve.label for curve, *_ in lines):
            axes.legend(loc="best", fontsize=9)
        save_figure(figure, path)
    return True


def _finite(columns: Columns, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    values = columns.get(curve.column, np.array([]))
    finite = np.isfinite(values)
    return columns[STEP][: len(values)][finite], values[finite] * curve.scale
