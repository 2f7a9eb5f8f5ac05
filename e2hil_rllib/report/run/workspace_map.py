"""Figure 6: positions of pruned and kept samples over the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Rectangle

from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.report.page import Table
from e2hil_rllib.report.style import GREY, STYLE

_CELL = 0.01  # [m]
_FEWEST = 10  # samples that a cell needs for its share of pruned ones

_COLUMNS = (
    ("kept", "Blues", "kept samples that lie in a cell [%]"),
    ("pruned", "Oranges", "pruned samples that lie in a cell [%]"),
    ("share pruned", "cividis", "samples of a cell that are pruned [%]"),
)


@dataclass(frozen=True)
class Reach:
    """Reach of an arm, seen from above in its base's frame.

    Attributes:
        box: Corners of the workspace: lowest x and y, highest x and y [m].
        axis: x of the axis that the arm turns about [m]; its y is 0.
        radii: Shortest and longest distance of the TCP from that axis with the jaws straight
            down [m].
        turn: Largest turn of the arm to each side [degrees].
    """

    box: tuple[float, float, float, float]
    axis: float
    radii: tuple[float, float]
    turn: float


@dataclass(frozen=True, eq=False)
class PlacedSamples:
    """Samples of a method on a task, over all seeds.

    Attributes:
        place: x and y of the TCP [m], shape (n, 2).
        kept: Whether the selection kept each, bool (n,).
    """

    place: np.ndarray
    kept: np.ndarray

    def inside(self, reach: Reach) -> np.ndarray:
        """Return which of them lie in the workspace, bool (n,)."""
        low, high = np.array(reach.box[:2]), np.array(reach.box[2:])
        return np.asarray(((self.place >= low) & (self.place <= high)).all(axis=1))


def place_table(by_method: Mapping[str, PlacedSamples], reach: Reach, task: str) -> Table:
    """Return the samples of each method in and out of the workspace, and their pruned shares."""
    rows = []
    for method, samples in by_method.items():
        inside = samples.inside(reach)
        cells = [_pruned(samples.kept[part]) for part in (inside, ~inside)]
        rows.append((task, method, str(len(inside)), f"{1 - inside.mean():.1%}", *cells))
    head = ("task", "method", "samples", "out of the workspace", "pruned inside", "pruned outside")
    return head, rows


def draw_places(
    by_method: Mapping[str, PlacedSamples], reach: Reach, title: str, path: Path
) -> None:
    """Draw for each method the kept samples, the pruned ones, and the share of pruned ones.

    Args:
        by_method: Samples by method, at least one.
        reach: Reach of the arm.
        title: Title of the figure.
        path: PNG file to write.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    places = np.concatenate([samples.place for samples in by_method.values()])
    edges = _edges(places, reach)
    maps = [_maps(samples, edges) for samples in by_method.values()]
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        size = (11.4, 2.35 * len(by_method) + 1.2)
        figure = Figure(figsize=size, dpi=150, layout="compressed")
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        grid = figure.subplots(len(by_method), 3, squeeze=False, sharex=True, sharey=True)
        for column, (name, colours, label) in enumerate(_COLUMNS):
            # A few extreme cells must not make all others pale.
            known = np.concatenate([m[column][np.isfinite(m[column])] for m in maps])
            highest = np.percentile(known, 98) if known.any() else 1.0
            for axes, method, values in zip(grid[:, column], by_method, maps, strict=True):
                image = axes.pcolormesh(
                    edges[1], edges[0], values[column], cmap=colours, vmin=0, vmax=highest
                )
                axes.set_title(f"{method}: {name}", fontsize=10)
                _draw_reach(axes, reach)
                axes.set(aspect="equal", xlim=edges[1][[-1, 0]], ylim=edges[0][[0, -1]])
            figure.colorbar(
                image,
                ax=grid[:, column],
                label=label,
                location="bottom",
                extend="max",
                aspect=30,
                pad=0.03,
            )
            grid[-1, column].set_xlabel("y, left of the arm [m]")
        for axes in grid[:, 0]:
            axes.set_ylabel("x, ahead [m]")
        save_figure(figure, path)


def _maps(
    samples: PlacedSamples, edges: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each cell's share of the kept and of the pruned samples, and its pruned share [%]."""
    x, y = samples.place.T
    kept, pruned = (
        np.histogram2d(x[chosen], y[chosen], bins=edges)[0]
        for chosen in (samples.kept, ~samples.kept)
    )
    counted = kept + pruned
    share = np.where(counted >= _FEWEST, 100 * pruned / np.maximum(counted, 1), np.nan)
    return _percent_of(kept), _percent_of(pruned), share


def _percent_of(counts: np.ndarray) -> np.ndarray:
    """Return shares of the sum [%]; NaN where a count is 0."""
    return np.where(counts > 0, 100 * counts / max(counts.sum(), 1), np.nan)


def _edges(places: np.ndarray, reach: Reach) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of the cells along x and y, around the samples and the arm's reach [m]."""
    furthest = reach.radii[1]
    of_arm = [(reach.axis, -furthest), (reach.axis + furthest, furthest)]
    corners = np.concatenate([places, np.reshape(reach.box, (2, 2)), of_arm])
    first = np.floor(corners.min(axis=0) / _CELL - 1)
    last = np.ceil(corners.max(axis=0) / _CELL + 1)
    along_x, along_y = (np.arange(a, b + 1) * _CELL for a, b in zip(first, last, strict=True))
    return along_x, along_y


def _draw_reach(axes: Axes, reach: Reach) -> None:
    """Draw the workspace (dashed) and the arm's nearest and farthest reach (thin)."""
    x, y, last_x, last_y = reach.box
    axes.add_patch(
        Rectangle((y, x), last_y - y, last_x - x, fill=False, linestyle="--", edgecolor="black")
    )
    for radius in reach.radii:
        axes.add_patch(
            Arc(
                (0.0, reach.axis), 2 * radius, 2 * radius, theta1=90 - reach.turn,
                theta2=90 + reach.turn, color=GREY, linewidth=1,
            )
        )  # fmt: skip
    axes.plot(0.0, reach.axis, "+", color=GREY)


def _pruned(kept: np.ndarray) -> str:
    return f"{1 - kept.mean():.1%}" if len(kept) else "-"
