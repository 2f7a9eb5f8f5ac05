"""Screening: one table of runs that differ in single settings, with their evaluations.

    python -m tune_scripts.compare.screening runs/screening/* --name screening

Each run is one of ``e2hil train``, with ``evaluation.every_steps``, on a seed of 100 or above:
settings are chosen by these runs, and measured on others. A factor is a setting in which a run
differs from its preset.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

from e2hil_rllib.commands.cli.common import Debug, console, user_errors
from e2hil_rllib.disk.files import swapped_in
from e2hil_rllib.errors import UserError
from e2hil_rllib.report.comparison.method_curves import evaluated_series
from e2hil_rllib.run.evaluation_log import read_evaluations
from e2hil_rllib.run.progress import read_rows
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.presets import preset_settings
from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.sections import ALGORITHM_SECTIONS
from tune_scripts.compare.measures import HUMAN_STEPS, TAKEOVERS, row_at

PUBLISHED = Path(__file__).resolve().parents[1] / "results"
TABLE = "screening.csv"
COLUMNS = (
    "task",
    "factor",
    "patience",
    "seed",
    "step",
    "success_alone",
    "human_steps",
    "takeovers",
)


class ScreeningError(UserError):
    """A run that cannot be part of the table; the message says why."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run folders.")],
    name: Annotated[str, typer.Option(help="Folder in tune_scripts/results.")] = "screening",
    debug: Debug = False,
) -> None:
    """Write a row for each evaluation of each run."""
    with user_errors(debug):
        rows = [row for run in runs for row in rows_of(RunFolder(run))]
        path = PUBLISHED / name / TABLE
        with (
            swapped_in(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(sorted(rows, key=lambda row: tuple(map(str, row.values()))[:4]))
        console.print(f"{path.relative_to(PUBLISHED.parent)}: {len(rows)} rows", highlight=False)


def rows_of(run: RunFolder) -> list[dict[str, object]]:
    """Return the rows of a run, one for each of its evaluations.

    Raises:
        ScreeningError: It has no evaluation.
    """
    settings = run.settings()
    steps, rates = evaluated_series(read_evaluations(run.evaluation))
    if not len(steps):
        raise ScreeningError(
            f"{run.root} has no evaluation. Train it with --set evaluation.every_steps=500."
        )
    operator = settings.env.get("operator") or {}
    progress = read_rows(run.progress)
    rows = []
    for step, success in zip(steps, rates, strict=True):
        last = row_at(progress, step)
        rows.append(
            {
                "task": settings.task.removeprefix("envs:SO101").removesuffix("-v0"),
                "factor": factor_of(settings),
                "patience": operator.get("patience", ""),
                "seed": settings.seed,
                "step": int(step),
                "success_alone": f"{success:.2f}",
                "human_steps": int(last.get(HUMAN_STEPS, 0)),
                "takeovers": int(last[TAKEOVERS]) if TAKEOVERS in last else "",
            }
        )
    return rows


def factor_of(settings: Settings) -> str:
    """Return the settings of a run beyond those of its preset, e.g. "training.n_step=3"."""
    found = [] if settings.preset == "default" else [f"preset={settings.preset}"]
    preset = preset_settings(settings.preset)
    for name, section in ALGORITHM_SECTIONS.items():
        for key, value in settings.arguments(name).items():
            attribute = section.attribute(key)
            if attribute not in preset or preset[attribute] != value:
                found.append(f"{name}.{key}={value}")
    return " ".join(found) or "default"


if __name__ == "__main__":
    app()
