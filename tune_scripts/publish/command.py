"""Writes what is committed of a comparison: its tables, figures and curves, and how it was made.

    python -m tune_scripts.publish runs/methods --name touch_cube

What it writes names no machine and no path of one. The same command writes it again, e.g. once
more trials have finished; `python -m tune_scripts.publish.readme_table` then brings
results/README.md up to date.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from e2hil_rllib.commands.cli.common import Debug, console, user_errors
from e2hil_rllib.commands.compare import reach_of
from e2hil_rllib.disk.files import remove_file, swapped_in
from e2hil_rllib.errors import UserError
from e2hil_rllib.report.comparison.comparison_report import write_tables_and_figures
from e2hil_rllib.report.comparison.method_table import warnings
from e2hil_rllib.report.comparison.trials import ERRORS, RESULTS, Comparison, read_comparison
from e2hil_rllib.report.page import Page
from tune_scripts.commands import COMMANDS, CommandRow, without_machine
from tune_scripts.compare.results import ErrorRow, ResultRow, read_table
from tune_scripts.publish.about import ABOUT, About, commands_in_words
from tune_scripts.publish.curves import CURVE_COLUMNS, curves
from tune_scripts.publish.equal_cost import EQUAL_COST_COLUMNS, equal_cost

PUBLISHED = Path(__file__).resolve().parents[1] / "results"
CURVES = "curves.csv"
EQUAL_COST = "equal_cost.csv"

LARGEST_PICTURE = 300_000
"""A PNG above this gets a palette [bytes]."""


class PublishError(UserError):
    """A comparison that cannot be published as asked; the message says what to do instead."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR…", help="Folders of comparisons, pooled.")
    ],
    name: Annotated[str, typer.Option(help="Of the published results.")],
    command: Annotated[
        str | None,
        typer.Option(help=f"That made the comparison, where a folder has no {COMMANDS}."),
    ] = None,
    table: Annotated[
        bool, typer.Option(help="Whether results/README.md is to have a table of these results.")
    ] = True,
    out: Annotated[
        Path, typer.Option(help="Folder in which the folder NAME is written.", show_default=False)
    ] = PUBLISHED,
    debug: Debug = False,
) -> None:
    """Write what is committed of a comparison into tune_scripts/results/NAME."""
    with user_errors(debug):
        about = publish(folders, name, command, table, out)
        for note in about.notes:
            console.print(note, highlight=False, markup=False)
        console.print(f"Published: {out / name}", highlight=False, markup=False, soft_wrap=True)


def publish(
    folders: Sequence[Path],
    name: str,
    command: str | None = None,
    table: bool = True,
    out: Path = PUBLISHED,
) -> About:
    """Writes `results.csv`, the report's tables and figures, `curves.csv` and `ABOUT.md`.

    Args:
        folders: Of comparisons, pooled; nothing is written there.
        name: Of the folder that is written; what was published under it is replaced.
        command: That made the comparison, where a folder has no `commands.csv`.
        table: Whether results/README.md is to have a table of these results.
        out: Where the folder is.

    Raises:
        PublishError: The name is none of a folder, or it is not known how a folder was made.
        ComparisonError: There are no results, or they cannot be pooled.
        TableError: A table is not one of a comparison.
        WriteError: The disk is full.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise PublishError(
            f"{name!r} cannot name a folder of results: use letters, digits, _ and -."
        )
    commands = _commands(folders, command)
    comparison = read_comparison(folders)
    target = out / name
    notes = [*warnings(comparison), *comparison.notes]
    write_tables_and_figures(comparison, Page(name, ""), target, reach_of)
    for picture in target.glob("fig*.png"):
        make_small(picture)
    _write_results(folders, comparison, target)
    _write_errors(folders, target)
    points = curves(comparison.trials, notes)
    _write_table(target / CURVES, CURVE_COLUMNS, points)
    _write_table(target / EQUAL_COST, EQUAL_COST_COLUMNS, equal_cost(comparison, points, notes))
    about = About(
        name=name,
        date=datetime.now(UTC).date().isoformat(),
        commands=commands,
        code_versions=sorted({trial.code_version for trial in comparison.trials}),
        trials=len(comparison.trials),
        notes=[without_machine(note, folders) for note in notes],
        has_table=table,
    )
    with swapped_in(target / ABOUT) as temporary:
        temporary.write_text(about.to_markdown(target), encoding="utf-8")
    return about


def make_small(picture: Path, largest: int = LARGEST_PICTURE) -> None:
    """Gives a PNG above a size a palette; its colours and its number of pixels stay.

    Args:
        picture: The file, replaced.
        largest: Size up to which it stays as it is [bytes].
    """
    if picture.stat().st_size <= largest:
        return
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    with swapped_in(picture) as temporary:
        small.save(temporary, format="PNG", optimize=True)


def _commands(folders: Sequence[Path], command: str | None) -> list[str]:
    """In words, those of all folders.

    Raises:
        PublishError: A folder has none and none is given, or one is given and each folder has some.
    """
    tables = {folder: read_table(folder / COMMANDS, CommandRow) for folder in folders}
    without = [folder for folder, rows in tables.items() if not rows]
    if without and command is None:
        raise PublishError(
            f"{', '.join(map(str, without))}: there is no {COMMANDS} that says how it was made. "
            "Give the command by --command."
        )
    if command is not None and not without:
        raise PublishError(
            f"Every folder has a {COMMANDS}, which says how it was made. Leave --command out."
        )
    found = [line for rows in tables.values() for line in commands_in_words(rows)]
    return found if command is None else [*found, f"`{without_machine(command, folders)}`"]


def _write_results(folders: Sequence[Path], comparison: Comparison, target: Path) -> None:
    """The rows that count, in the comparison's order."""
    rows = {
        (folder / row["run_dir"], row["config_hash"]): row
        for folder in folders
        for row in read_table(folder / RESULTS, ResultRow)
    }
    columns = [field.name for field in dataclasses.fields(ResultRow)]
    counted = [rows[trial.run.root, trial.config_hash] for trial in comparison.trials]
    _write_table(target / RESULTS, columns, counted)


def _write_errors(folders: Sequence[Path], target: Path) -> None:
    rows = [row for folder in folders for row in read_table(folder / ERRORS, ErrorRow)]
    if not rows:
        remove_file(target / ERRORS)
        return
    columns = [field.name for field in dataclasses.fields(ErrorRow)]
    told = [row | {"error": without_machine(row["error"], folders)} for row in rows]
    _write_table(target / ERRORS, columns, told)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    with swapped_in(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
