"""Figure 4: success, interventions and entropy over the steps of training, by method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.report.run.curves import Columns
from e2hil_rllib.report.style import BLUE, GREEN, GREY, ORANGE, STYLE
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode
from e2hil_rllib.run.progress import STEP

Series = tuple[np.ndarray, np.ndarray]
"""Environment steps and values, each of shape (n,), all finite."""

_POINTS = 200


@dataclass(frozen=True)
class Panel:
    """Part of the figure: title, axis, and a column of ``progress.csv`` with its factor."""

    title: str
    axis: str
    column: str
    scale: float = 1.0


EVALUATED = Panel("Success without the human", "evaluated episodes [%]", "evaluation", 100)
PANELS = (
    EVALUATED,
    Panel(
        "Success in training, with the human's help",
        "last 100 episodes [%]",
        "env_runners/success_rate",
        100,
    ),
    Panel(
        "Interventions: steps led by the human",
        "steps of the last 100 episodes [%]",
        "env_runners/intervention_rate",
        100,
    ),
    Panel("Entropy of the policy", "entropy [nats]", "learners/default_policy/policy_entropy"),
)


@dataclass(frozen=True)
class Look:
    """Colour, dashes and marker of a method, each of them enough to tell it from the others."""

    colour: str
    dashes: str | tuple[int, tuple[float, ...]]
    marker: str


# Okabe and Ito's palette without its yellow, which is too pale for lines.
_KNOWN = {
    "default": Look("#882255", "-", "*"),
    "e2hil": Look(BLUE, "-", "o"),
    "e2hil_paper": Look("#332288", (0, (9, 1)), "<"),
    "hil_serl": Look(ORANGE, (0, (5, 1.5)), "s"),
    "hil_serl_repaired": Look("#999933", (0, (5, 1, 1, 1)), "h"),
    "bc": Look("#117733", (0, (2, 2)), "p"),
    "random": Look(GREY, (0, (1.2, 1.2)), "^"),
    "upper_only": Look(GREEN, (0, (6, 1.5, 1.2, 1.5)), "D"),
    "lower_only": Look("#CC79A7", (0, (3, 1)), "v"),
    "log_influence": Look("#56B4E9", (0, (8, 2)), "P"),
    "rlpd10": Look("#D55E00", (0, (4, 1, 1, 1, 1, 1)), "X"),
}
_OTHERS = tuple(
    Look("#000000", dashes, marker)
    for dashes, marker in zip(("-", "--", ":", "-."), "d8>1", strict=True)
)


def looks_of(methods: Iterable[str]) -> dict[str, Look]:
    """Return a look for each method, the same in every comparison for those of ``_KNOWN``."""
    given = list(methods)
    others = [method for method in given if method not in _KNOWN]
    spare = {name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(others)}
    return {name: _KNOWN.get(name) or spare[name] for name in given}


@dataclass(frozen=True)
class Band:
    """Mean, lowest and highest value over seeds, each of shape (n,) as ``steps``."""

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def evaluated_series(episodes: Sequence[EvaluatedEpisode]) -> Series:
    """Return the success rate of the evaluation at each step, where it is known."""
    known = [episode for episode in episodes if episode.success is not None]
    steps = sorted({episode.step for episode in known})
    rates = [np.mean([e.success for e in known if e.step == step]) for step in steps]
    return np.array(steps, float), np.array(rates, float)


def trained_series(columns: Columns, panel: Panel) -> Series:
    """Return the finite values of a panel's column of ``progress.csv``."""
    values = columns.get(panel.column, np.full(len(columns[STEP]), np.nan))
    finite = np.isfinite(values) & np.isfinite(columns[STEP])
    return columns[STEP][finite], values[finite]


def band_of(series: Sequence[Series]) -> Band | None:
    """Pool seeds over the steps that all of them cover, interpolating linearly.

    Returns:
        None where a seed has fewer than two values, or they share no steps.
    """
    if not series or any(len(steps) < 2 for steps, _ in series):
        return None
    first = max(steps[0] for steps, _ in series)
    last = min(steps[-1] for steps, _ in series)
    if not first < last:
        return None
    at = np.linspace(first, last, _POINTS)
    values = np.stack([np.interp(at, *one) for one in series])
    return Band(at, values.mean(axis=0), values.min(axis=0), values.max(axis=0))


def draw_methods(
    panels: Mapping[Panel, Mapping[str, Band]],
    looks: Mapping[str, Look],
    title: str,
    path: Path,
) -> None:
    """Draw a line for each method's mean, in a band from its lowest to its highest seed.

    Args:
        panels: Bands by panel and method, at least one.
        looks: Looks of all methods that occur.
        title: Title of the figure.
        path: PNG file to write.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2 * columns, 3.1 * rows + 0.7), dpi=150, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        shown: dict[str, Line2D] = {}
        for axes, (panel, bands) in zip(grid.flat, panels.items(), strict=False):
            shown |= _draw_panel(axes, panel, bands, looks)
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        names = [name for name in looks if name in shown]
        figure.legend(
            [shown[name] for name in names], names, loc="outside lower center",
            ncols=min(4, len(names)), fontsize=10, handlelength=3.5,
        )  # fmt: skip
        save_figure(figure, path)


def _draw_panel(
    axes: Axes, panel: Panel, bands: Mapping[str, Band], looks: Mapping[str, Look]
) -> dict[str, Line2D]:
    """Draw a panel and return the line of each method for the legend."""
    lines = {}
    for number, (method, band) in enumerate(bands.items()):
        look, scale = looks[method], panel.scale
        axes.fill_between(
            band.steps, scale * band.low, scale * band.high,
            color=look.colour, alpha=0.1, linewidth=0,
        )  # fmt: skip
        # Markers are at other steps for each method, so that overlapping lines show both.
        every = _POINTS // 5
        (lines[method],) = axes.plot(
            band.steps, scale * band.mean, color=look.colour, linestyle=look.dashes, linewidth=1.7,
            marker=look.marker, markersize=5, markevery=(number * every // 7, every),
            zorder=3 - number / 100,
        )  # fmt: skip
    axes.set(title=panel.title, xlabel="steps of the environment", ylabel=panel.axis)
    axes.set_xlim(left=0)
    if "%" in panel.axis:
        axes.set_ylim(-2, 102)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}".replace(",", "\u2009"))
    return lines
