"""Report of a run: its figures, and one page with all of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from e2hil_rllib.disk.files import remove_file, swapped_in, writing
from e2hil_rllib.errors import UserError
from e2hil_rllib.report.page import Page
from e2hil_rllib.report.run.curves import PLOTS, Columns, draw
from e2hil_rllib.report.run.judged_samples import add_judged_samples
from e2hil_rllib.report.run.observations import add_observations
from e2hil_rllib.run.evaluation_log import read_evaluations, summarize
from e2hil_rllib.run.progress import STEP, as_columns, read_rows
from e2hil_rllib.run.run_folder import RunFolder

_FIGURES = (
    ("steps of the environment", STEP, "{:.0f}"),
    ("updates", "num_updates_lifetime", "{:.0f}"),
    ("episodes", "num_episodes_lifetime", "{:.0f}"),
    ("human steps", "num_human_steps_lifetime", "{:.0f}"),
    ("takeovers", "num_takeovers_lifetime", "{:.0f}"),
    ("success with the human's help", "env_runners/success_rate", "{:.1%}"),
    ("success without a human step", "env_runners/autonomous_success_rate", "{:.1%}"),
    ("intervention rate", "env_runners/intervention_rate", "{:.1%}"),
    ("return", "env_runners/episode_return_mean", "{:.2f}"),
    ("entropy of the policy [nats]", "learners/default_policy/policy_entropy", "{:.2f}"),
    ("temperature", "learners/default_policy/temperature", "{:.3g}"),
    ("critic loss", "learners/default_policy/critic_loss", "{:.3g}"),
    ("samples kept", "learners/default_policy/kept_fraction", "{:.1%}"),
    ("online buffer", "replay/online_size", "{:.0f}"),
    ("demonstration buffer", "replay/demonstration_size", "{:.0f}"),
)


class ReportError(UserError):
    """A run that cannot be reported; the message says why."""


def write_report(run: RunFolder) -> Path:
    """Draw the curves of a run and write the page; earlier ones are replaced.

    Returns:
        Path of the page, ``report/index.html``.

    Raises:
        RunFolderError: The folder is not that of a run.
        ReportError: The run has not written a whole row yet, or its files are damaged.
    """
    settings = run.settings()
    columns = _read_columns(run)
    with writing(run.report):
        run.report.mkdir(exist_ok=True)
    pictures = []
    for plot in PLOTS:
        path = run.report / f"{plot.name}.png"
        if draw(plot, columns, path):
            pictures.append((plot.title, path))
        else:
            remove_file(path)
    steps, total = columns[STEP][-1], settings.stop.steps
    page = Page(
        f"{settings.task}: {run.root.resolve().name}",
        f"Step {steps:.0f} of {total}. Newest checkpoint: {run.checkpoints().latest() or 'none'}.",
    )
    _add_evaluation(page, run)
    page.heading("Curves")
    page.figures(pictures)
    _add_crops(page, run)
    add_observations(page, run)
    add_judged_samples(page, run)
    page.heading("Last figures, and those of the run's quarters")
    page.table(("", "last", "1st quarter", "2nd", "3rd", "4th"), _figure_rows(columns))
    page.heading("Settings")
    page.code(settings.to_yaml())
    target = run.report / "index.html"
    with swapped_in(target) as temporary:
        temporary.write_text(page.to_html(), encoding="utf-8")
    return target


def _read_columns(run: RunFolder) -> Columns:
    try:
        rows = read_rows(run.progress) if run.progress.exists() else []
    except ValueError as error:
        raise ReportError(str(error)) from error
    if not rows or STEP not in rows[0]:
        raise ReportError(
            f"There is nothing to report yet: {run.progress} has no row. The first one comes with "
            "the first training iteration."
        )
    return as_columns(rows)


def _add_evaluation(page: Page, run: RunFolder) -> None:
    page.heading("Evaluation: deterministic, without a human")
    try:
        episodes = read_evaluations(run.evaluation)
    except ValueError as error:
        raise ReportError(str(error)) from error
    if not episodes:
        page.paragraph("None yet.")
        return
    rows = []
    for step in sorted({episode.step for episode in episodes}):
        of_step = [episode for episode in episodes if episode.step == step]
        for start, summary in summarize(of_step).items():
            rows.append((str(step), start, *summary.in_words()))
    page.table(("step", "start", "success", "95 % interval", "episodes", "steps", "return"), rows)


def _add_crops(page: Page, run: RunFolder) -> None:
    pictures = sorted(run.crops.glob("*.png"))
    if pictures:
        page.heading("Region of interest")
        page.figures([(f"Region of interest of camera {p.stem}", p) for p in pictures], wide=True)


def _figure_rows(columns: Columns) -> list[list[str]]:
    """Return the last value and the means over the run's quarters of each known figure."""
    steps = columns[STEP]
    quarter = np.minimum(4 * (steps - 1e-9) // max(steps[-1], 1), 3)
    rows = []
    for name, column, form in _FIGURES:
        values = columns.get(column)
        if values is None or not np.isfinite(values).any():
            continue
        cells = [values[np.isfinite(values)][-1]]
        if form != "{:.0f}":
            cells += [_mean(values[quarter == number]) for number in range(4)]
        rows.append([name, *(form.format(v) if math.isfinite(v) else "-" for v in cells)])
        rows[-1] += [""] * (6 - len(rows[-1]))
    return rows


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan
