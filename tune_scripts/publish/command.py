"""Publishing of comparisons: the tables, figures and curves that are committed, and their origin.

    python -m tune_scripts.publish runs/methods --name touch_cube

The published files name no machine and no path of one. The same command writes them again, e.g.
once more trials have finished; ``python -m tune_scripts.publish.readme_table`` then updates the
tables of results/README.md.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import platform
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
from tune_scripts.publish.curves import CURVE_COLUMNS, EQUAL_COST_COLUMNS, EVERY, curves, equal_cost

PUBLISHED = Path(__file__).resolve().parents[1] / "results"
ABOUT = "ABOUT.md"
CURVES = "curves.csv"
EQUAL_COST = "equal_cost.csv"

NO_TABLE = "table: no"
"""Line of ABOUT.md that keeps a table of these results out of the README."""

LARGEST_PICTURE = 300_000
"""Size above which a PNG gets a palette [bytes]."""

_CPU_INFO = Path("/proc/cpuinfo")

_FILES = {
    RESULTS: "A row for each finished trial; `compare/results.py` describes the columns",
    ERRORS: "A row for each trial that failed",
    "comparison.csv": "Table I: figures of each method with the ends of their 95 % intervals",
    "influence_by_source.csv": "Table II: magnitude of c of logged samples by method and source",
    CURVES: f"Each trial at its evaluations and every {EVERY} steps: success of the "
    "evaluation, human steps and takeovers so far, share of the last 100 training episodes that "
    "succeeded without a human step, entropy of the policy [nats], temperature, mean Q "
    "of the policy's actions",
    EQUAL_COST: "Success of the evaluations at equal human cost: at half and at all of the "
    "human steps that the median hil_serl trial used, and its mean up to there",
    "fig4_curves_*.png": "Success, interventions and entropy over training (the paper's Figure 4)",
    "fig5_entropy_change_*.png": "Predicted and measured change of entropy (Figure 5, left)",
    "fig5_influence_*.png": "Magnitude of c by source (Figure 5, right)",
    "fig6_workspace_*.png": "Where pruned and kept samples lie (Figure 6)",
}


class PublishError(UserError):
    """A comparison that cannot be published as asked; the message says what to do instead."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR…", help="Folders of comparisons, pooled.")
    ],
    name: Annotated[str, typer.Option(help="Name of the published results.")],
    command: Annotated[
        str | None,
        typer.Option(help=f"Command that made the comparison, if a folder has no {COMMANDS}."),
    ] = None,
    table: Annotated[
        bool, typer.Option(help="Whether results/README.md is to have a table of these results.")
    ] = True,
    out: Annotated[
        Path, typer.Option(help="Folder in which the folder NAME is written.", show_default=False)
    ] = PUBLISHED,
    debug: Debug = False,
) -> None:
    """Write the files to commit of a comparison into tune_scripts/results/NAME."""
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
    """Write ``results.csv``, the report's tables and figures, ``curves.csv`` and ``ABOUT.md``.

    Args:
        folders: Folders of comparisons, pooled; nothing is written there.
        name: Name of the folder to write; earlier results of that name are replaced.
        command: Command that made the comparison, if a folder has no ``commands.csv``.
        table: Whether results/README.md is to have a table of these results.
        out: Parent of the folder to write.

    Raises:
        PublishError: The name cannot name a folder, or the origin of a folder is unknown.
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
    """Give a large PNG a palette; its size in pixels and its look stay.

    Args:
        picture: File to replace.
        largest: Size up to which the file is left as it is [bytes].
    """
    if picture.stat().st_size <= largest:
        return
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    with swapped_in(picture) as temporary:
        small.save(temporary, format="PNG", optimize=True)


@dataclasses.dataclass(frozen=True)
class About:
    """Origin of published results.

    Attributes:
        name: Name of their folder.
        date: Date of publishing, ISO 8601.
        commands: Commands that made them, each with its start and code version where known.
        code_versions: Code versions of the results.
        trials: Number of finished trials.
        notes: Caveats for the reader.
        has_table: Whether the README has a table of them.
    """

    name: str
    date: str
    commands: Sequence[str]
    code_versions: Sequence[str]
    trials: int
    notes: Sequence[str]
    has_table: bool

    def to_markdown(self, folder: Path) -> str:
        """Return the text of ``ABOUT.md``.

        Args:
            folder: Folder of the results, with all other files in it.
        """
        files = {pattern: what for pattern, what in _FILES.items() if any(folder.glob(pattern))}
        lines = [
            f"# Comparison {self.name}",
            "",
            f"{self.trials} finished trials. Written on {self.date} by `python -m "
            "tune_scripts.publish`, which replaces everything here; nothing is edited by hand.",
            *([] if self.has_table else ["", NO_TABLE]),
            "",
            "Made by",
            "",
            *(f"- {command}" for command in self.commands),
            "",
            f"Code of the results: {', '.join(self.code_versions)}. "
            f"Machine that published them: {machine_in_words()}.",
            "",
            "| File | Content |",
            "|---|---|",
            *(f"| `{pattern}` | {what} |" for pattern, what in files.items()),
        ]
        if self.notes:
            lines += ["", "To be known before trusting them:", ""]
            lines += [f"- {note}" for note in self.notes]
        return "\n".join([*lines, ""])


def commands_in_words(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return each command once, with its first start, number of starts and code versions.

    Args:
        rows: Rows of a ``commands.csv``.
    """
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        found.setdefault(row["command"], []).append(row)
    lines = []
    for command, starts in found.items():
        versions = ", ".join(dict.fromkeys(row["code_version"] for row in starts))
        often = "" if len(starts) == 1 else f", {len(starts)} times until {starts[-1]['time']}"
        lines.append(f"`{command}` (started {starts[0]['time']}{often}; code {versions})")
    return lines


def machine_in_words() -> str:
    """Return the number of cores and the processor's name."""
    name = platform.machine()
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
                break
    return f"{os.cpu_count()} cores, {name}"


def _commands(folders: Sequence[Path], command: str | None) -> list[str]:
    """Return the commands of all folders in words.

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
    """Write the rows that count, in the comparison's order."""
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
