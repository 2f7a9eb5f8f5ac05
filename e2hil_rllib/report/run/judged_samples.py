"""Kept and pruned samples of a minibatch: their influence by source, and their frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from e2hil_rllib.data.episodes import DamagedEpisodeError, episode_path
from e2hil_rllib.data.transitions import SOURCE_NAMES
from e2hil_rllib.disk.files import remove_file, save_figure
from e2hil_rllib.report.page import Page, Table
from e2hil_rllib.report.run.contact_sheet import COLUMNS, Shot, Strip, draw_strips
from e2hil_rllib.report.run.footage import Footage, Frames
from e2hil_rllib.report.run.logged_samples import demonstrations_of
from e2hil_rllib.report.style import COLOUR_OF_SOURCE, GREY, STYLE
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.run.selection_log import (
    DamagedSelectionError,
    JudgedSamples,
    read_samples,
    selection_files,
)


class _FrameFinder:
    """Frames of samples, read from the episode files of a run.

    Attributes:
        notes: Reasons why samples were passed over.
    """

    def __init__(self, run: RunFolder) -> None:
        self._episodes = run.episodes
        self._demonstrations = demonstrations_of(run)
        self._open: dict[int, Footage | None] = {}
        self.notes: list[str] = []

    def frames_of(self, episode: int, step: int) -> Frames | None:
        """Return the frames of a step; None without cameras or a whole episode file."""
        if episode not in self._open:
            self._open[episode] = self._opened(episode)
        footage = self._open[episode]
        if footage is None or not footage.cameras:
            return None
        try:
            return footage.frames([step])[0]
        except DamagedEpisodeError as error:
            self.notes.append(str(error))
            self._open[episode] = None
            return None

    def _opened(self, episode: int) -> Footage | None:
        index = episode if episode >= 0 else -1 - episode
        path = episode_path(self._episodes if episode >= 0 else self._demonstrations, index)
        try:
            footage = Footage(path)
        except FileNotFoundError:
            return None  # still open, or deleted
        except DamagedEpisodeError as error:
            self.notes.append(str(error))
            return None
        if footage.episode != index:
            self.notes.append(f"{path} holds episode {footage.episode}; it seems to be renamed.")
            return None
        return footage


def add_judged_samples(page: Page, run: RunFolder) -> None:
    """Add the judgement of the newest logged minibatch to a page; nothing where none was logged.

    Damaged files are left out with a note.
    """
    pictures = (run.report / "influence_of_samples.png", run.report / "judged_samples.png")
    for picture in pictures:
        remove_file(picture)
    notes: list[str] = []
    newest = next(_readable(run.selection, notes), None)
    if newest is None and not notes:
        return
    page.heading("Kept and pruned samples")
    if newest is not None:
        step, samples = newest
        page.paragraph(f"{len(samples)} samples of a minibatch at step {step}. {_rule(samples)}")
        if draw_influence(samples, pictures[0]):
            page.figures([("Influence on the entropy by source", pictures[0])])
        page.table(*influence_table(samples))
        finder = _FrameFinder(run)
        if strips := _strips(samples, finder):
            draw_strips(strips, pictures[1])
            page.paragraph(
                "Below each sample: its |c|, source, episode and step. Blue: policy, orange: "
                "intervention, green: demonstration (its episodes count apart)."
            )
            page.figures([("Frames of kept and pruned samples", pictures[1])], wide=True)
        notes += finder.notes
    for note in notes:
        page.paragraph(f"Left out: {note}")


def _readable(folder: Path, notes: list[str]) -> Iterator[tuple[int, JudgedSamples]]:
    for step, path in reversed(selection_files(folder)):
        try:
            yield step, read_samples(path)
        except DamagedSelectionError as error:
            notes.append(str(error))


def _rule(samples: JudgedSamples) -> str:
    """Return the effect of the bounds on the actor, in words."""
    if not samples.enabled:
        return (
            "The selection is off: the actor learned from all of them. Bounds, and what is kept, "
            "say what the selection would have done."
        )
    if samples.rule == "random":
        return (
            "The rule is random: as many were pruned as lie outside of the bounds, whatever their "
            "|c|."
        )
    density = ", with c taken without the density" if samples.rule == "log_entropy" else ""
    return (
        f"The actor learned from those within the bounds, ℓ ≤ |c| ≤ u{density}: "
        f"{samples.kept.mean():.0%} of them."
    )


def _strips(samples: JudgedSamples, finder: _FrameFinder) -> list[Strip]:
    """Return frames of the samples with the smallest, the middle and the largest |c|."""
    magnitude = np.abs(samples.influence)
    order = np.argsort(magnitude, kind="stable")
    below = order[magnitude[order] < samples.lower]
    above = order[magnitude[order] > samples.upper][::-1]
    within = order[len(below) : len(order) - len(above)]
    middle_first = within[np.argsort(np.abs(np.arange(len(within)) - len(within) // 2))]
    by_influence = samples.enabled and samples.rule != "random"
    pruned, kept = ("Pruned: ", "Kept: ") if by_influence else ("", "")
    groups = (
        (f"{pruned}|c| below the lower bound, the smallest", below),
        (f"{kept}|c| within the bounds, around the median", middle_first),
        (f"{pruned}|c| above the upper bound, the largest", above),
    )
    strips = []
    for title, candidates in groups:
        if shots := _shots(samples, candidates, finder, tell_kept=not by_influence):
            strips.append(Strip(title, shots))
    return strips


def _shots(
    samples: JudgedSamples, candidates: np.ndarray, finder: _FrameFinder, *, tell_kept: bool
) -> list[Shot]:
    """Return the first candidates that have frames, each moment once, by their |c|."""
    found: dict[tuple[int, int], tuple[float, Shot]] = {}
    for row in candidates:
        moment = (int(samples.episode[row]), int(samples.step[row]))
        if moment in found:
            continue  # drawn twice into the minibatch
        frames = finder.frames_of(*moment)
        if frames is None:
            continue
        source = SOURCE_NAMES[samples.source[row]]
        magnitude = float(abs(samples.influence[row]))
        judged = "" if not tell_kept else ", kept" if samples.kept[row] else ", pruned"
        episode = moment[0] if moment[0] >= 0 else -1 - moment[0]
        caption = f"|c| {magnitude:.2g}{judged}\n{source} {episode}:{moment[1]}"
        found[moment] = (magnitude, Shot(frames, caption, COLOUR_OF_SOURCE[source]))
        if len(found) == COLUMNS:
            break
    return [shot for _, shot in sorted(found.values(), key=lambda pair: pair[0])]


def by_source(samples: JudgedSamples) -> dict[str, np.ndarray]:
    """Return a mask of the samples of each source that occurs, bool (B,)."""
    chosen = {name: samples.source == code for code, name in enumerate(SOURCE_NAMES)}
    return {name: mask for name, mask in chosen.items() if mask.any()}


def influence_table(samples: JudgedSamples) -> Table:
    """Return number, median |c| and shares below, above and within the bounds, by source."""
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
    """Draw for each source the share of its samples up to each |c|, with both bounds.

    Returns:
        False if every |c| is zero, and nothing is written.

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
    """Mark the bounds and shade the range outside; a bound of 0 is off."""
    left, right = axes.get_xlim()
    if samples.lower > left:
        axes.axvspan(left, samples.lower, color=GREY, alpha=0.12, linewidth=0)
        axes.axvline(samples.lower, color=GREY, linestyle=":", label="lower bound ℓ")
    if samples.upper < right:
        axes.axvspan(samples.upper, right, color=GREY, alpha=0.12, linewidth=0)
        axes.axvline(samples.upper, color=GREY, linestyle="--", label="upper bound u")
    axes.set_xlim(left, right)
