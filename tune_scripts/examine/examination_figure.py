"""Figure and table of an examination over the phases of training."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from e2hil_rllib.disk.files import save_figure, swapped_in
from e2hil_rllib.report.comparison.statistics import mean_known
from e2hil_rllib.report.style import BLUE, GREEN, GREY, ORANGE, STYLE

Row = Mapping[str, str | int | float]
"""Row of a checkpoint: ``OF_CHECKPOINT``, ``OF_EXAMINATION``, and the measures."""

OF_CHECKPOINT = ("task", "method", "seed", "step", "quarter")
OF_EXAMINATION = ("batches", "samples", "draws", "drawn_from")
"""Settings of an examination; ``drawn_from`` is its seed, ``seed`` that of the trial."""

# Titles, each with measures, labels, colours and dashes.
_PANELS: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = (
    (
        "pruned again, of what\nK = 256 prunes",
        (
            ("pruned_again_many", "K = 256, drawn again", GREY, "--"),
            ("pruned_again_8", "K of the run", BLUE, "-"),
        ),
    ),
    (
        "rank correlation of c with\nthe true effect at its state",
        (
            ("effect_own_log", "without the density, K = 256", GREEN, "--"),
            ("effect_own_many", "K = 256", ORANGE, ":"),
            ("effect_own_8", "K of the run", BLUE, "-"),
        ),
    ),
    (
        "true effect on the entropy\n[nats / unit step], by part",
        (
            ("own_above", "above the upper bound", ORANGE, "-"),
            ("own_kept", "kept", BLUE, "-"),
            ("own_below", "below the lower bound", GREY, "--"),
        ),
    ),
    (
        "|c| ranks as …\n(rank correlation)",
        (
            ("rank_density", "the log density", ORANGE, "-"),
            ("rank_advantage", "the spread of the advantage", GREEN, "--"),
        ),
    ),
    (
        "share above the upper bound",
        (
            ("upper_policy", "policy", BLUE, "-"),
            ("upper_intervention", "intervention", ORANGE, "-"),
            ("upper_demonstration", "demonstration", GREEN, "--"),
        ),
    ),
    (
        "Q − reward that was got",
        (
            ("bias_policy", "policy", BLUE, "-"),
            ("bias_intervention", "intervention", ORANGE, "-"),
            ("bias_demonstration", "demonstration", GREEN, "--"),
        ),
    ),
    (
        "Q at the policy's mode − Q at\nthe action that was taken",
        (
            ("prefers_policy", "policy", BLUE, "-"),
            ("prefers_intervention", "intervention", ORANGE, "-"),
            ("prefers_demonstration", "demonstration", GREEN, "--"),
        ),
    ),
)


def draw_examination(rows: Sequence[Row], path: Path) -> None:
    """Draw each measure over the steps: a line is the mean over seeds, a dot a seed.

    Args:
        rows: Rows of the same settings of examination, at least one.
        path: PNG file to write.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    groups = list(dict.fromkeys((row["task"], row["method"]) for row in rows))
    with matplotlib.rc_context(STYLE | {"font.size": 9, "axes.titlesize": 9}):
        size = (2.9 * len(_PANELS), 2.7 * len(groups) + 0.6)
        figure = Figure(figsize=size, dpi=95, layout="constrained")
        grid = figure.subplots(len(groups), len(_PANELS), squeeze=False, sharex="row")
        for number, (line, (task, method)) in enumerate(zip(grid, groups, strict=True)):
            chosen = [r for r in rows if (r["task"], r["method"]) == (task, method)]
            for axes, (title, measures) in zip(line, _PANELS, strict=True):
                _draw(axes, chosen, measures)
                if number == 0:
                    axes.set_title(title)
                    axes.legend(fontsize=7.5, loc="best")
                if number == len(groups) - 1:
                    axes.set_xlabel("steps of the environment")
            line[0].set_ylabel(f"{task}\n{method}", fontweight="bold")
        save_figure(figure, path)


def _draw(axes: Axes, rows: Sequence[Row], measures: Sequence[tuple[str, str, str, str]]) -> None:
    steps = sorted({int(row["step"]) for row in rows})
    axes.axhline(0, color=GREY, linewidth=0.6)
    for name, label, colour, dashes in measures:
        points = [(int(row["step"]), float(row[name])) for row in rows]
        means = _mean_over_seeds(rows, name, steps)
        axes.plot(steps, means, color=colour, linestyle=dashes, label=label, linewidth=1.5)
        axes.plot(*np.array(points).T, ".", color=colour, alpha=0.35, markersize=4)


def _mean_over_seeds(rows: Sequence[Row], name: str, steps: Sequence[int]) -> list[float]:
    """Return the mean at each step; a seed with other steps, being resumed, is interpolated."""
    lines: list[list[float]] = []
    for seed in {row["seed"] for row in rows}:
        there = {int(row["step"]): float(row[name]) for row in rows if row["seed"] == seed}
        known = sorted((step, value) for step, value in there.items() if not math.isnan(value))
        if known:
            known_at, values = np.array(known).T
            between = np.interp(steps, known_at, values, left=np.nan, right=np.nan)
            lines.append([there.get(at, float(v)) for at, v in zip(steps, between, strict=True)])
    return [mean_known(of_step) for of_step in zip(*lines, strict=True)] or [math.nan] * len(steps)


def write_phases(rows: Sequence[Row], path: Path) -> None:
    """Write the mean of each measure by task, method and quarter of training.

    Args:
        rows: Rows of the same settings of examination, at least one.
        path: CSV file to write.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    keys = list(dict.fromkeys((r["task"], r["method"], r["quarter"]) for r in rows))
    names = [name for name in rows[0] if name not in (*OF_CHECKPOINT, *OF_EXAMINATION)]
    with swapped_in(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("task", "method", "quarter", "checkpoints", *names))
        for key in sorted(keys, key=str):
            chosen = [r for r in rows if (r["task"], r["method"], r["quarter"]) == key]
            means = [mean_known(float(row[name]) for row in chosen) for name in names]
            writer.writerow((*key, len(chosen), *(f"{mean:.4g}" for mean in means)))
