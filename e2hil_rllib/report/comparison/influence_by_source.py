"""Figure 5, right, and Table II: |c| by the source of the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from e2hil_rllib.data.transitions import SOURCE_NAMES
from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.report.page import Table
from e2hil_rllib.report.run.logged_samples import LoggedSamples
from e2hil_rllib.report.style import COLOUR_OF_SOURCE, STYLE

PERCENTILES = (5, 25, 50, 75, 90, 95)
_TAIL = 90

_MARKERS = dict(zip(SOURCE_NAMES, "osD", strict=True))
_OFFSETS = dict(zip(SOURCE_NAMES, (-0.24, 0.0, 0.24), strict=True))


@dataclass(frozen=True, eq=False)
class Judged:
    """|c| of n samples, shape (n,), and whether each was kept, bool (n,)."""

    magnitude: np.ndarray
    kept: np.ndarray


def judged_by_source(seeds: Sequence[LoggedSamples]) -> dict[str, Judged]:
    """Pool all seeds and return their samples by source, "all" first, without missing sources."""
    magnitude = np.concatenate([samples.magnitude for samples in seeds])
    kept = np.concatenate([samples.kept for samples in seeds])
    source = np.concatenate([samples.source for samples in seeds])
    found = {"all": Judged(magnitude, kept)}
    for code, name in enumerate(SOURCE_NAMES):
        chosen = source == code
        if chosen.any():
            found[name] = Judged(magnitude[chosen], kept[chosen])
    return found


def source_table(by_method: Mapping[str, Sequence[LoggedSamples]], task: str) -> Table:
    """Return percentiles of |c| by method and source, with shares of the tail and of the pruned.

    The tail is the tenth of a method's samples with the largest |c|.
    """
    rows = []
    for method, seeds in by_method.items():
        sources = judged_by_source(seeds)
        everything = sources["all"].magnitude
        largest = np.percentile(everything, _TAIL)
        for name, judged in sources.items():
            values = judged.magnitude
            share_of_tail = (values >= largest).sum() / (everything >= largest).sum()
            rows.append(
                (
                    task,
                    method,
                    name,
                    str(len(values)),
                    *(f"{value:.3g}" for value in np.percentile(values, PERCENTILES)),
                    f"{len(values) / len(everything):.1%}",
                    f"{share_of_tail:.1%}",
                    f"{1 - judged.kept.mean():.1%}",
                )
            )
    percentiles = [f"{p}th" if p != 50 else "median" for p in PERCENTILES]
    shares = ("of all", "of the largest tenth", "pruned")
    return ("task", "method", "source", "samples", *percentiles, *shares), rows


def draw_sources(by_method: Mapping[str, Sequence[LoggedSamples]], title: str, path: Path) -> bool:
    """Draw for each method and source the range of |c| from its 5th to its 95th percentile.

    Args:
        by_method: Samples of the seeds by method, at least one.
        title: Title of the figure.
        path: PNG file to write.

    Returns:
        False if every |c| is zero, and nothing is written.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    by_source = {method: judged_by_source(seeds) for method, seeds in by_method.items()}
    if not any(sources["all"].magnitude.any() for sources in by_source.values()):
        return False
    with matplotlib.rc_context(STYLE):
        size = (8.0, 1.7 + 0.62 * len(by_method))
        figure = Figure(figsize=size, dpi=150, layout="constrained")
        axes = figure.subplots()
        for row, sources in enumerate(by_source.values()):
            for name in SOURCE_NAMES:
                if name in sources:
                    points = np.percentile(sources[name].magnitude, (5, 25, 50, 75, 95))
                    _draw_range(axes, row + _OFFSETS[name], points, name)
        axes.set_xscale("log")
        axes.set_yticks(range(len(by_source)), by_source)
        axes.set_ylim(len(by_source) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        for edge in range(1, len(by_source)):
            axes.axhline(edge - 0.5, color="#e6e6e6", linewidth=0.8)
        axes.set(
            title=title, xlabel="|c|: line 5th to 95th percentile, thick middle half, mark median"
        )
        handles = [
            Line2D([], [], color=COLOUR_OF_SOURCE[name], marker=_MARKERS[name], label=name)
            for name in SOURCE_NAMES
            if any(name in sources for sources in by_source.values())
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=10)
        save_figure(figure, path)
    return True


def _draw_range(axes: Axes, height: float, points: np.ndarray, name: str) -> None:
    colour = COLOUR_OF_SOURCE[name]
    fifth, quarter, median, three_quarters, highest = points
    axes.plot([fifth, highest], [height] * 2, color=colour, linewidth=1.3)
    axes.plot(
        [quarter, three_quarters], [height] * 2, color=colour, linewidth=4.5, solid_capstyle="butt"
    )
    axes.plot(
        median, height, _MARKERS[name], color="white", markeredgecolor=colour, markersize=6.5,
        markeredgewidth=1.6,
    )  # fmt: skip
