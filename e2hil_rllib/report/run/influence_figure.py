"""|c| of the samples of a minibatch by their source: a figure and a table."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from e2hil_rllib.data.transitions import SOURCE_NAMES
from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.report.page import Table
from e2hil_rllib.report.style import COLOUR_OF_SOURCE, GREY, STYLE
from e2hil_rllib.run.selection_log import JudgedSamples


def by_source(samples: JudgedSamples) -> dict[str, np.ndarray]:
    """Which samples, bool (B,), come from each source that there is."""
    chosen = {name: samples.source == code for code, name in enumerate(SOURCE_NAMES)}
    return {name: mask for name, mask in chosen.items() if mask.any()}


def influence_table(samples: JudgedSamples) -> Table:
    """Number, median |c| and shares below, within and above the bounds, of each source."""
    magnitude = np.abs(samples.influence)
    sources = by_source(samples)
    rows = [
        (
            name,
            str(mask.sum()),
            f"{np.median(magnitude[mask]):.2g}",
            f"{np.mean(magnitude[mask] < samples.lower):.1%}",
            f"{np.mean(magnitude[mask] > samples.upper):.1%}",
            f"{samples.kept[mask].mean():.1%}",
        )
        for name, mask in ({"all": np.ones(len(samples), bool)} | sources).items()
    ]
    return ("source", "samples", "median |c|", "below ℓ", "above u", "kept"), rows


def draw_influence(samples: JudgedSamples, path: Path) -> bool:
    """Draws for each source the share of its samples up to each |c|, with both bounds.

    Returns:
        Whether there was a |c| above zero to draw; without one, nothing is written.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    magnitude = np.abs(samples.influence)
    if not magnitude.any():
        return False
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.4), dpi=150, layout="constrained")
        axes = figure.subplots()
        for name, mask in by_source(samples).items():
            values = np.sort(magnitude[mask])  # zeros lie left of all of a logarithmic axis
            share = 100 * np.arange(1, len(values) + 1) / len(values)
            axes.step(
                np.r_[values[0], values], np.r_[0, share], where="post", linewidth=1.6,
                color=COLOUR_OF_SOURCE[name], label=name,
            )  # fmt: skip
        axes.set_xscale("log")
        _shade_pruned(axes, samples)
        axes.set(
            title="Influence on the entropy by source", xlabel="|c|", ylabel="samples up to |c| [%]"
        )
        axes.set_ylim(-2, 102)
        axes.legend(loc="best", fontsize=9)
        save_figure(figure, path)
    return True


def _shade_pruned(axes: Axes, samples: JudgedSamples) -> None:
    """Marks the bounds, and greys what lies outside of them; a bound of 0 is off."""
    left, right = axes.get_xlim()
    if samples.lower > left:
        axes.axvspan(left, samples.lower, color=GREY, alpha=0.12, linewidth=0)
        axes.axvline(samples.lower, color=GREY, linestyle=":", label="lower bound ℓ")
    if samples.upper < right:
        axes.axvspan(samples.upper, right, color=GREY, alpha=0.12, linewidth=0)
        axes.axvline(samples.upper, color=GREY, linestyle="--", label="upper bound u")
    axes.set_xlim(left, right)
