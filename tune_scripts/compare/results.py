"""The tables of a comparison: a row for each finished trial, and one for each that failed."""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2hil_rllib.disk.files import swapped_in, writing
from e2hil_rllib.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class TableError(UserError):
    """A table that is not what this program writes; the message names file and line."""


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """A finished trial: the columns of `results.csv`, in their order. None is an empty cell.

    Tables that were written before there were the columns with a default are read all the same.

    Attributes:
        task: Name of its settings file.
        method: One of `tune_scripts.compare.methods.METHODS`.
        seed: Of everything that is drawn.
        steps: Steps of the environment in training.
        success_rate: Of the final evaluation, deterministic and without the operator.
        success_low: Lower end of its 95 % Wilson interval.
        success_high: Upper end.
        human_steps: Human-controlled steps in training, without the demonstrations.
        human_steps_to_90: Those until 90 % of the last 20 episodes succeeded without a human
            step; None if that was never so.
        intervention_rate: Human-controlled steps over all steps.
        episodes: Finished episodes in training.
        updates: Minibatches.
        wall_seconds: Time of all training iterations [s], evaluation and restarts left out.
        evaluation_episodes: Episodes of the final evaluation.
        config_hash: Of the settings, see `tune_scripts.compare.plan.config_hash`.
        code_version: Commit of the code, "-dirty" behind it if it was changed; several joined by
            "+" if the trial was stopped and gone on with by other code.
        run_dir: Its run folder, relative to the comparison's.
        person: Who watched, where persons were compared, e.g. patience_0.6.
        takeovers: Changes of control to the human; None where nobody counted them.
        human_steps_to_lasting_90: Human-controlled steps until success alone held: at the first of
            three consecutive evaluations with 90 % or more; None if it never did.
        takeovers_to_lasting_90: The takeovers until then.
        fell_back: Lowest success of a later evaluation below 90 %; None if there was none.
        evaluations: Steps at which the policy was evaluated; from fewer than three nobody can tell
            whether success held.
    """

    task: str
    method: str
    seed: int
    steps: int
    success_rate: float | None
    success_low: float | None
    success_high: float | None
    human_steps: int
    human_steps_to_90: int | None
    intervention_rate: float
    episodes: int
    updates: int
    wall_seconds: float
    evaluation_episodes: int
    config_hash: str
    code_version: str
    run_dir: str
    person: str = ""
    takeovers: int | None = None
    human_steps_to_lasting_90: int | None = None
    takeovers_to_lasting_90: int | None = None
    fell_back: float | None = None
    evaluations: int | None = None


@dataclasses.dataclass(frozen=True)
class ErrorRow:
    """A trial that failed: the columns of `errors.csv`."""

    time: str
    task: str
    method: str
    seed: int
    error: str
    config_hash: str
    code_version: str
    run_dir: str


def append_row(path: Path, row: DataclassInstance) -> None:
    """Adds a row to its table, which is whole at every moment, also while others add theirs.

    Args:
        path: The table; made if there is none.
        row: What to add.

    Raises:
        TableError: The file has other columns.
        WriteError: The disk is full.
    """
    columns = [field.name for field in dataclasses.fields(row)]
    with _locked(path):
        earlier = _read(path, type(row)) if path.exists() else []
        with swapped_in(path) as new, new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows([*earlier, dataclasses.asdict(row)])


def read_results(path: Path) -> list[dict[str, str]]:
    """The rows of a `results.csv` as texts; none where there is no file.

    Raises:
        TableError: The file has other columns.
    """
    return read_table(path, ResultRow)


def read_table(path: Path, kind: type[DataclassInstance]) -> list[dict[str, str]]:
    """The rows of a table as texts; none where there is no file.

    Args:
        path: The table.
        kind: What was appended to it; columns with a default may be missing, and are empty then.

    Raises:
        TableError: The file has other columns.
    """
    return _read(path, kind) if path.exists() else []


def is_of(row: Mapping[str, Any], task: str, method: str, seed: int, person: str) -> bool:
    """Whether a row is one of a trial."""
    found = (row["task"], row["method"], str(row["seed"]), row["person"])
    return found == (task, method, str(seed), person)


def _read(path: Path, kind: type[DataclassInstance]) -> list[dict[str, str]]:
    columns = [field.name for field in dataclasses.fields(kind)]
    added = {
        field.name for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING
    }  # fmt: skip
    reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    names = list(reader.fieldnames or [])
    if names != [column for column in columns if column in names or column not in added]:
        raise TableError(
            f"{path} has the columns {names}, expected {columns}. Move it away, or "
            "name another folder with --out."
        )
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise TableError(
                f"{path}, line {reader.line_num}: expected {len(names)} cells. Remove the line."
            )
        rows.append({column: row.get(column, "") for column in columns})
    return rows


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits until nobody else changes a table."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("a")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
