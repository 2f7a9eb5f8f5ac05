"""Figures of a comparison on its page, each with its table and a note on missing data."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from e2hil_rllib.report.comparison.entropy_prediction import (
    MEASURES,
    EntropyChanges,
    Measure,
    correlation_table,
    draw_predictions,
)
from e2hil_rllib.report.comparison.influence_by_source import draw_sources, source_table
from e2hil_rllib.report.comparison.method_curves import (
    EVALUATED,
    PANELS,
    Band,
    Panel,
    Series,
    band_of,
    draw_methods,
    evaluated_series,
    looks_of,
    trained_series,
)
from e2hil_rllib.report.comparison.method_table import BASELINE
from e2hil_rllib.report.comparison.trials import Comparison, Trial
from e2hil_rllib.report.page import Page, Table
from e2hil_rllib.report.run.curves import Columns
from e2hil_rllib.report.run.logged_samples import LoggedSamples, logged_samples, tcp_positions
from e2hil_rllib.report.run.workspace_map import PlacedSamples, Reach, draw_places, place_table
from e2hil_rllib.run.evaluation_log import read_evaluations
from e2hil_rllib.run.progress import STEP, as_columns, read_rows
from e2hil_rllib.run.run_folder import RunFolder, RunFolderError
from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.yaml_file import SettingsError

T = TypeVar("T")

# Methods whose predictions are drawn: the paper's, then ours; the table has them all.
_DRAWN = (BASELINE, "e2hil", "e2hil_paper", "default")


class Figures:
    """Figures of a page, from the run folders of a comparison.

    Missing data are left out, and the page says so in a line.

    Args:
        comparison: Trials to draw.
        page: Page that gets the figures.
        out: Folder of the PNG files.
        reach_of: Function from a run's settings to its arm's reach; None where it is unknown.
    """

    def __init__(
        self,
        comparison: Comparison,
        page: Page,
        out: Path,
        reach_of: Callable[[Settings], Reach | None],
    ) -> None:
        self._comparison = comparison
        self._page = page
        self._out = out
        self._reach_of = reach_of
        self._notes: list[str] = []
        self._columns = cache(self._read_columns)
        self._samples = cache(self._read_samples)

    def add_curves(self) -> None:
        """Add Figure 4 of each task."""
        self._page.heading("Figure 4: success, interventions and entropy over training")
        self._page.paragraph(
            "Lines: mean over seeds; bands: from the lowest to the highest seed, over the steps "
            "that all seeds have."
        )
        for task in self._comparison.tasks:
            panels = {}
            for panel in PANELS:
                bands = self._bands(task, panel)
                if bands:
                    panels[panel] = bands
                else:
                    self._notes.append(self._missing_panel(task, panel))
            if panels:
                path = self._picture("fig4_curves", task)
                draw_methods(panels, looks_of(self._comparison.methods), task, path)
                self._show(f"Curves of the methods on {task}", path)
        self._flush_notes()

    def add_predictions(self) -> None:
        """Add Figure 5, left, of each task, and the correlations."""
        self._page.heading("Figure 5, left: predicted and measured change of entropy")
        self._page.paragraph(
            "Predicted: mean c of the judged minibatches of an iteration (Eq. 9, for a step of "
            "size 1); for log_influence, c is taken without the density, as that rule has it. "
            "Measured, same updates: the change of entropy that the actor's updates on these very "
            "minibatches made, at their states and by the same draws, against the mean c of the "
            "samples they learned from. Measured, slope over iterations: slope of the policy's "
            "entropy from the iteration before to the one after, against the mean c of all "
            "samples of the judged minibatches. Correlations over iterations, means over seeds, "
            "for all of training and its quarters; too few are less than eight."
        )
        for task in self._comparison.tasks:
            found = self._predictions(task)
            if not found:
                self._notes.append(
                    f"{task}: left out, no progress.csv has the learner's "
                    "entropy_change_measured, or its policy_entropy in three rows with its "
                    "entropy_change in the middle one."
                )
                continue
            shown = [m for m in _DRAWN if m in found] or list(found)[:1]
            drawn = {method: next(iter(found[method].items())) for method in shown}
            if old := [method for method, (measure, _) in drawn.items() if measure != MEASURES[0]]:
                self._notes.append(
                    f"{task}: of {' and '.join(old)}, only the slope over iterations is known: "
                    "the runs are of a version that did not measure what an update did."
                )
            path = self._picture("fig5_entropy_change", task)
            draw_predictions(drawn, task, path)
            self._show(f"Predicted and measured change of entropy on {task}", path)
            self._page.table(*correlation_table(found, task))
        self._flush_notes()

    def add_sources(self) -> Table | None:
        """Add Figure 5, right, of each task and Table II, and return the table if there is one."""
        self._page.heading("Figure 5, right, and Table II: |c| by source")
        self._page.paragraph(
            "All logged samples of all seeds. The largest tenth: samples with |c| above the 90th "
            "percentile of the method. Pruned: left out by the mask; where the selection is off, "
            "what it would have left out."
        )
        head: Sequence[str] = ()
        rows: list[Sequence[str]] = []
        for task in self._comparison.tasks:
            by_method = self._by_method(task, self._samples)
            if not by_method:
                self._notes.append(f"{task}: left out, no run has a selection log that is whole.")
                continue
            path = self._picture("fig5_influence", task)
            if draw_sources(by_method, f"{task}: influence on the entropy by source", path):
                self._show(f"Influence by source on {task}", path)
            else:
                self._notes.append(f"{task}: no figure, every |c| is zero.")
            table = source_table(by_method, task)
            self._page.table(*table)
            head, rows = table[0], [*rows, *table[1]]
        self._flush_notes()
        return (head, rows) if rows else None

    def add_places(self) -> None:
        """Add Figure 6 of each task, of the methods that prune."""
        self._page.heading("Figure 6: where pruned and kept samples lie")
        self._page.paragraph(
            "From above. Dashed: the workspace; thin arcs: from where to where the arm reaches "
            "with its jaws straight down; cross: the axis that it turns about. Shares are drawn "
            "for cells of 10 mm with at least 10 samples. Methods that prune nothing are left out."
        )
        for task in self._comparison.tasks:
            reach, by_method = self._reach(task), self._places(task)
            if reach is None or not by_method:
                what = "what the arm reaches is not known" if by_method else "no sample is known"
                self._notes.append(f"{task}: left out, {what}.")
                continue
            path = self._picture("fig6_workspace", task)
            draw_places(by_method, reach, task, path)
            self._show(f"Pruned and kept samples over the workspace of {task}", path)
            self._page.table(*place_table(by_method, reach, task))
        self._flush_notes()

    def _bands(self, task: str, panel: Panel) -> dict[str, Band]:
        """Return the bands by method, and note which seeds and methods are left out of them."""
        bands, missing = {}, []
        for method in self._comparison.methods:
            trials = self._comparison.of(task, method)
            series = [(t, one) for t in trials if (one := self._series(t, panel)) is not None]
            lines = [one for _, one in series if len(one[0]) > 1]
            few = [str(trial.seed) for trial, one in series if len(one[0]) < 2]
            if few:
                missing.append(f"{method} seed {', '.join(few)} (fewer than two points)")
            if band := band_of(lines):
                bands[method] = band
            elif lines:
                missing.append(f"{method} (its seeds have no steps in common)")
        if bands and missing:
            self._notes.append(f"{task}: '{panel.title}' leaves out {'; '.join(missing)}.")
        return bands

    def _series(self, trial: Trial, panel: Panel) -> Series | None:
        if panel is EVALUATED:
            try:
                return evaluated_series(read_evaluations(trial.run.evaluation))
            except ValueError as error:
                self._notes.append(f"Left out: {error}")
                return None
        columns = self._columns(trial)
        return None if columns is None else trained_series(columns, panel)

    def _missing_panel(self, task: str, panel: Panel) -> str:
        if panel is EVALUATED:
            return (
                f"{task}: success without the human is not drawn over training, since no method "
                "was evaluated more than once (evaluation.every_steps); Table I has its end."
            )
        return f"{task}: '{panel.title}' is left out, no progress.csv has it twice."

    def _predictions(self, task: str) -> dict[str, dict[Measure, list[EntropyChanges]]]:
        """Return the changes of the seeds by method and measure, where any seed has them."""
        found: dict[str, dict[Measure, list[EntropyChanges]]] = {}
        for measure in MEASURES:

            def changes(trial: Trial, measure: Measure = measure) -> EntropyChanges | None:
                columns = self._columns(trial)
                return None if columns is None else measure.changes(columns)

            for method, seeds in self._by_method(task, changes).items():
                found.setdefault(method, {})[measure] = seeds
        return {m: found[m] for m in self._comparison.methods if m in found}

    def _places(self, task: str) -> dict[str, PlacedSamples]:
        def placed(trial: Trial) -> PlacedSamples | None:
            samples = self._samples(trial)
            if samples is None or not samples.enabled:
                return None
            try:
                places = tcp_positions(trial.run, samples, self._notes)[:, :2]
            except (RunFolderError, SettingsError) as error:
                self._notes.append(f"Left out: {error}")
                return None
            known = np.isfinite(places).all(axis=1)
            return PlacedSamples(places[known], samples.kept[known]) if known.any() else None

        return {
            method: PlacedSamples(
                np.concatenate([samples.place for samples in seeds]),
                np.concatenate([samples.kept for samples in seeds]),
            )
            for method, seeds in self._by_method(task, placed).items()
        }

    def _reach(self, task: str) -> Reach | None:
        """Return the reach of the first of a task's trials whose settings can be read."""
        for trial in self._comparison.trials:
            if trial.task == task:
                try:
                    return self._reach_of(trial.run.settings())
                except (RunFolderError, SettingsError):
                    continue  # named where its samples are placed
        return None

    def _by_method(self, task: str, of: Callable[[Trial], T | None]) -> dict[str, list[T]]:
        """Return the known values of the trials by method; methods without any are left out."""
        found = {
            method: [one for t in self._comparison.of(task, method) if (one := of(t)) is not None]
            for method in self._comparison.methods
        }
        return {method: seeds for method, seeds in found.items() if seeds}

    def _read_columns(self, trial: Trial) -> Columns | None:
        return _columns_of(trial.run, self._notes)

    def _read_samples(self, trial: Trial) -> LoggedSamples | None:
        return logged_samples(trial.run, self._notes)

    def _picture(self, name: str, task: str) -> Path:
        """Return the file of a figure, without the characters of a task that no file may have."""
        return self._out / f"{name}_{re.sub(r'[^A-Za-z0-9_-]', '_', task)}.png"

    def _show(self, title: str, path: Path) -> None:
        self._page.figures([(title, path)], wide=True)

    def _flush_notes(self) -> None:
        for note in dict.fromkeys(self._notes):
            self._page.paragraph(note)
        self._notes.clear()


def _columns_of(run: RunFolder, notes: list[str]) -> Columns | None:
    if not run.progress.exists():
        notes.append(f"Left out: {run.root} has no {run.progress.name}.")
        return None
    try:
        rows = [row for row in read_rows(run.progress) if STEP in row]
    except ValueError as error:
        notes.append(f"Left out: {error}")
        return None
    return as_columns(rows) if rows else None
