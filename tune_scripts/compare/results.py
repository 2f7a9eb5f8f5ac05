"""Tables of a comparison: a row for each finished trial, and one for each failed one."""

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
    """A table of another kind or damaged; the message names file and line."""


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """Finished trial: the columns of ``results.csv``, in order. None is an empty cell.

    Older tables may lack the columns with a default.

    Attributes:
        task: Name of its settings file.
        method: One of ``tune_scripts.compare.methods.METHODS``.
        seed: Seed of all random draws.
        steps: Environment steps of training.
        success_rate: Success of the final evaluation, deterministic and without the operator.
        success_low: Lower end of its 95 % Wilson interval.
        success_high: Upper end of its 95 % Wilson interval.
        human_steps: Human steps of training, without the demonstrations.
        human_steps_to_90: Human steps until 90 % of the last 20 episodes succeeded without one;
            None if they never did.
        intervention_rate: Human steps over all steps.
        episodes: Number of finished episodes of training.
        updates: Number of minibatches.
        wall_seconds: Time of all training iterations [s], evaluation and restarts left out.
        evaluation_episodes: Number of episodes of the final evaluation.
        config_hash: Hash of the settings, see ``tune_scripts.compare.plan.config_hash``.
        code_version: Commit of the code, followed by "-dirty" if it was changed; several joined by
            "+" if the trial was resumed by other code.
        run_dir: Run folder, relative to the comparison's.
        person: Name of the person where persons were compared, e.g. patience_0.6.
        takeovers: Changes of control to the human; None where they were not counted.
        human_steps_to_lasting_90: Human steps until success alone held: at the first of three
            consecutive evaluations with 90 % or more; None if it never did.
        takeovers_to_lasting_90: Takeovers until then.
        fell_back: Lowest success of a later evaluation below 90 %; None if there was none.
        evaluations: Number of evaluations in training; fewer than three cannot show lasting
            success.
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
    """Failed trial: the columns of ``errors.csv``."""

    time: str
    task: str
    method: str
    seed: int
    error: str
    config_hash: str
    code_version: str
    run_dir: str


def append_row(path: Path, row: DataclassInstance) -> None:
    """Add a row to a table, which is whole at every moment, also while other processes add theirs.

    Args:
        path: Table; a missing one is created.
        row: Row to add.

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
    """Read the rows of a ``results.csv`` as texts; none where there is no file.

    Raises:
        TableError: The file has other columns.
    """
    return read_table(path, ResultRow)


def read_table(path: Path, kind: type[DataclassInstance]) -> list[dict[str, str]]:
    """Read the rows of a table as texts; none where there is no file.

    Args:
        path: Table.
        kind: Class of its rows; columns with a default may be missing, and are empty then.

    Raises:
        TableError: The file has other columns.
    """
    return _read(path, kind) if path.exists() else []


def is_of(row: Mapping[str, Any], task: str, method: str, seed: int, person: str) -> bool:
    """Return whether a row is one of a trial."""
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
    """Wait until no other process changes a table, and lock it."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("a")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
