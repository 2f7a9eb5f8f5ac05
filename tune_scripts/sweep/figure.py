"""Figure of a sweep: the objective over each searched value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, NullFormatter

from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.report.style import BLUE, GREY, ORANGE, STYLE
from tune_scripts.sweep.results import EndedTrial
from tune_scripts.sweep.space import SEARCHED, Searched

_COLUMNS = 3


def draw_sweep(trials: Sequence[EndedTrial], human_steps: int, path: Path) -> None:
    """Draw the objective over each searched value, with the paper's values marked.

    Args:
        trials: Ended trials; pruned ones are pale, since their objective is over fewer human steps.
        human_steps: H of the sweep.
        path: PNG file to write; the old one stays until the new one is whole.

    Raises:
        WriteError: The disk is full.
    """
    save_figure(sweep_figure(trials, human_steps), path)


def sweep_figure(trials: Sequence[EndedTrial], human_steps: int) -> Figure:
    """Return the figure that ``draw_sweep`` writes, with a panel for each searched setting."""
    rows = -(-len(SEARCHED) // _COLUMNS)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * _COLUMNS, 2.8 * rows + 0.8), dpi=110, layout="constrained")
        panels = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False).flat
        for number, (axes, searched) in enumerate(zip(panels, SEARCHED, strict=False)):
            _draw(axes, searched, trials)
            if number % _COLUMNS == 0:
                axes.set_ylabel(f"mean success over\n{human_steps} human steps")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside upper left", ncols=len(handles))
    return figure


def _draw(axes: Axes, searched: Searched, trials: Sequence[EndedTrial]) -> None:
    groups = (
        ("pruned, up to then", [t for t in trials if t.pruned], GREY, "x", 28),
        ("trial", [t for t in trials if not t.pruned and t.number], BLUE, "o", 28),
        ("the paper's values", [t for t in trials if not t.number], ORANGE, "*", 150),
    )
    axes.set_title(searched.name.replace("_", " "))
    axes.set_ylim(-0.03, 1.03)
    _scale(axes, searched)
    for label, chosen, colour, marker, size in groups:
        if chosen:
            values = [trial.values[searched.key] for trial in chosen]
            objectives = [trial.objective for trial in chosen]
            axes.scatter(values, objectives, s=size, c=colour, marker=marker, label=label)
        if chosen and not chosen[0].number:
            axes.axhline(chosen[0].objective, color=colour, linewidth=1, linestyle="--")


def _scale(axes: Axes, searched: Searched) -> None:
    """Show the whole range, also where no trial was."""
    low, high = searched.low, searched.high
    if not searched.log:
        margin = 0.04 * (high - low)
        axes.set_xlim(low - margin, high + margin)
        return
    base = 10 if high / low > 100 else 2
    axes.set_xscale("log", base=base)
    axes.set_xlim(low * (low / high) ** 0.04, high * (high / low) ** 0.04)
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
