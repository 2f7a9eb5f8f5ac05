"""Examination of the selection in the checkpoints of a comparison.

    python -m tune_scripts.compare … --set checkpoint.every_steps=500 checkpoint.keep=20
    python -m tune_scripts.examine runs/methods --out runs/examination

It measures the share of noise in the mask from drawing K actions, the influence's prediction of a
sample's effect on the entropy, the sources of the upper tail, and the bias of the critics. Outputs
are a row of OUT/examination.csv for each checkpoint, OUT/phases.csv with the means of each quarter
of training, and OUT/examination.png. The same command resumes; checkpoints in the table are not
examined again. Rows of other --batches, --samples or --seed stay in the table, but are left out of
the other two files.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from e2hil_rllib.commands.cli.common import Debug, console, user_errors
from e2hil_rllib.disk.files import swapped_in, writing
from e2hil_rllib.errors import UserError
from e2hil_rllib.report.comparison.trials import Trial, read_comparison
from e2hil_rllib.run.checkpoints import CheckpointStore
from e2hil_rllib.settings.build import quiet_ray
from tune_scripts.examine.examination_figure import (
    OF_CHECKPOINT,
    OF_EXAMINATION,
    draw_examination,
    write_phases,
)
from tune_scripts.options import SeveralValues

Row = dict[str, str | int | float]
"""Row of a checkpoint: task, method, seed, step, quarter, settings of the examination, measures."""

TABLE = "examination.csv"
_KEY = ("task", "method", "seed", "step", *OF_EXAMINATION)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class ExaminationError(UserError):
    """A comparison that cannot be examined; the message says what to do instead."""


@app.command(cls=SeveralValues)
def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of comparisons, pooled.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    methods: Annotated[
        list[str] | None, typer.Option(help="Only these methods; by default all that there are.")
    ] = None,
    every: Annotated[
        int,
        typer.Option(min=1, help="Steps: the first checkpoint from each multiple on is examined."),
    ] = 1000,
    batches: Annotated[int, typer.Option(min=1, help="Minibatches of each checkpoint.")] = 4,
    samples: Annotated[
        int, typer.Option(min=2, help="Samples of each whose effect on the entropy is computed.")
    ] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Seed of minibatches and actions.")] = 0,
    debug: Debug = False,
) -> None:
    """Examine the selection in the checkpoints of comparisons."""
    with user_errors(debug):
        quiet_ray()
        from e2hil_rllib.learning.torch_setup import set_up_torch
        from tune_scripts.examine.examination import MEASURES, Examined, examine

        set_up_torch(1)
        wanted = Examined(batches, samples, seed=seed)
        how = asdict(wanted)
        how["drawn_from"] = how.pop("seed")
        columns = (*OF_CHECKPOINT, *OF_EXAMINATION, *MEASURES)
        _refuse_other_columns(out / TABLE, columns)
        found = _found(folders, methods, every)
        rows = read_rows(out / TABLE)
        done = {tuple(str(row[name]) for name in _KEY) for row in rows}
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        for trial, step, path in track(found, "Examining", console=console):
            row: Row = {
                "task": trial.task, "method": trial.method, "seed": trial.seed, "step": step,
                "quarter": min(4, 1 + 4 * (step - 1) // trial.steps), **how,
            }  # fmt: skip
            if tuple(str(row[name]) for name in _KEY) in done:
                continue
            rows.append({**row, **examine(trial.run, path, wanted)})
            _write(out / TABLE, columns, rows)
        alike = [row for row in rows if all(row[name] == how[name] for name in OF_EXAMINATION)]
        draw_examination(alike, out / "examination.png")
        write_phases(alike, out / "phases.csv")
        if others := len(rows) - len(alike):
            console.print(f"Not drawn, of other --batches, --samples or --seed: {others} rows.")
        console.print(f"Written: {out / TABLE}, phases.csv and examination.png", soft_wrap=True)


def _found(
    folders: Sequence[Path], methods: Sequence[str] | None, every: int
) -> list[tuple[Trial, int, Path]]:
    """Return the checkpoints to examine, with their trials and steps, and report missing ones.

    Raises:
        ExaminationError: There is no checkpoint.
        ComparisonError: A folder is not that of a comparison.
    """
    trials = [
        trial for trial in read_comparison(folders).trials if not methods or trial.method in methods
    ]
    found = [(trial, *one) for trial in trials for one in _checkpoints(trial, every)]
    if not found:
        raise ExaminationError(
            f"There is no checkpoint to examine in {', '.join(map(str, folders))}. Train with "
            f"--set checkpoint.every_steps={every} checkpoint.keep=100, or give --every."
        )
    if without := len(trials) - len({trial.key for trial, *_ in found}):
        console.print(
            f"{without} of {len(trials)} trials have no checkpoint from step {every} on, and are "
            "left out.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    return found


def _checkpoints(trial: Trial, every: int) -> Iterator[tuple[int, Path]]:
    """Yield the first checkpoint from each multiple on; resumed runs have theirs at odd steps."""
    before = 0
    for path in trial.run.checkpoints().all():
        step = CheckpointStore.step_of(path)
        if step // every > before // every:
            yield step, path
        before = step


def _refuse_other_columns(path: Path, columns: Sequence[str]) -> None:
    """Refuse a table with other columns, before any row is computed.

    Raises:
        ExaminationError: It has other columns.
    """
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        there = csv.DictReader(file).fieldnames or ()
    lacking = [name for name in columns if name not in there]
    strange = [name for name in there if name not in columns]
    if lacking or strange:
        raise ExaminationError(
            f"{path} is of another version, and cannot be extended: it lacks the columns "
            f"{', '.join(lacking) or 'none'}, and has in addition {', '.join(strange) or 'none'}. "
            "Name another folder with --out, or remove the file to examine all checkpoints again."
        )


def read_rows(path: Path) -> list[Row]:
    """Read the rows of an examination; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: _value(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _value(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _write(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    with swapped_in(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
