"""Looks at what the selection did in the checkpoints of a comparison.

    python -m tune_scripts.compare_methods … --set checkpoint.every_steps=500 checkpoint.keep=20
    python -m tune_scripts.examine_selection runs/methods --out runs/examination

How much of the mask is the draw of K actions, whether the influence predicts what a sample does to
the entropy, which samples are the upper tail, and how biased the critics are: a row of
OUT/examination.csv for each checkpoint, OUT/phases.csv with the means of each quarter of training,
and OUT/examination.png. The same command goes on; what is in the table is not looked at again.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from e2hil_rllib.checkpoints import CheckpointStore
from e2hil_rllib.cli_common import Debug, console, user_errors
from e2hil_rllib.commands.build import quiet_ray
from e2hil_rllib.errors import UserError
from e2hil_rllib.files import swapped_in
from e2hil_rllib.report.trials import Trial, read_comparison
from tune_scripts.options import SeveralValues

Row = dict[str, str | int | float]
"""A checkpoint: task, method, seed, step, quarter of training, how it was examined, measures."""

TABLE = "examination.csv"
_KEY = ("task", "method", "seed", "step", "batches", "samples", "draws", "drawn_from")


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
        int, typer.Option(min=1, help="Steps between two checkpoints that are looked at.")
    ] = 1000,
    batches: Annotated[int, typer.Option(min=1, help="Minibatches of each checkpoint.")] = 4,
    samples: Annotated[
        int, typer.Option(min=2, help="Samples of each whose effect on the entropy is computed.")
    ] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of minibatches and actions.")] = 0,
    debug: Debug = False,
) -> None:
    """Examine the selection in the checkpoints of comparisons."""
    with user_errors(debug):
        quiet_ray()
        from e2hil_rllib.torch_setup import set_up_torch
        from tune_scripts.examination import Examined, examine
        from tune_scripts.examination_figure import draw_examination, write_phases

        set_up_torch(1)
        wanted = Examined(batches, samples, seed=seed)
        trials = read_comparison(folders).trials
        found = list(_checkpoints(trials, methods, every))
        if not found:
            raise ExaminationError(
                f"There is no checkpoint to look at in {', '.join(map(str, folders))}. Train with "
                f"--set checkpoint.every_steps={every} checkpoint.keep=100, or give --every."
            )
        how = asdict(wanted)
        how["drawn_from"] = how.pop("seed")
        rows = read_rows(out / TABLE)
        done = {tuple(str(row[name]) for name in _KEY) for row in rows}
        out.mkdir(parents=True, exist_ok=True)
        for trial, step, path in track(found, "Examining", console=console):
            row: Row = {
                "task": trial.task, "method": trial.method, "seed": trial.seed, "step": step,
                "quarter": min(4, 1 + 4 * (step - 1) // trial.steps), **how,
            }  # fmt: skip
            if tuple(str(row[name]) for name in _KEY) in done:
                continue
            rows.append({**row, **examine(trial.run, path, wanted)})
            _write(out / TABLE, rows)
        draw_examination(rows, out / "examination.png")
        write_phases(rows, out / "phases.csv")
        console.print(f"Written: {out / TABLE}, phases.csv and examination.png", soft_wrap=True)


def _checkpoints(
    trials: Sequence[Trial], methods: Sequence[str] | None, every: int
) -> Iterator[tuple[Trial, int, Path]]:
    """Those after the beginning, at multiples of some steps, of finished trials."""
    for trial in trials:
        if methods and trial.method not in methods:
            continue
        for path in trial.run.checkpoints().all():
            step = CheckpointStore.step_of(path)
            if step and step % every == 0:
                yield trial, step, path


def read_rows(path: Path) -> list[Row]:
    """The rows of an examination; none where there is no file."""
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


def _write(path: Path, rows: Sequence[Row]) -> None:
    with swapped_in(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})


if __name__ == "__main__":
    app()
