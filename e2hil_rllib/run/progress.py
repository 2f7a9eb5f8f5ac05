"""The figures of a run, a row for each training iteration, on disk as CSV and for TensorBoard."""

from __future__ import annotations

import csv
import io
import math
import numbers
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from e2hil_rllib.disk.files import swapped_in, writing

STEP = "num_env_steps_sampled_lifetime"
_NOT_FIGURES = ("config", "hostname", "node_ip", "pid", "trial_id", "date", "timestamp")

Row = dict[str, float]


def flatten(result: Mapping[str, Any], prefix: str = "") -> Row:
    """The numbers of a training result, under keys joined by "/". Everything else is left out."""
    row: Row = {}
    for key, value in result.items():
        if not prefix and key in _NOT_FIGURES:
            continue
        if isinstance(value, Mapping):
            row |= flatten(value, f"{prefix}{key}/")
        elif isinstance(value, numbers.Real | np.bool_) or getattr(value, "shape", None) == ():
            row[f"{prefix}{key}"] = float(value)
    return row


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file of numbers; an empty cell is left out of its row.

    A last line without an end is what a kill leaves of a row: it is not read.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A cell is not a number; the message names the file and the line.
    """
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    rows = []
    reader = csv.DictReader(io.StringIO(whole))
    for cells in reader:
        try:
            rows.append({name: float(cell) for name, cell in cells.items() if cell})
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path}, line {reader.line_num}: {error}. Remove the line and try again."
            ) from error
    return rows


def write_rows(path: Path, rows: list[Row]) -> None:
    """Writes a CSV file of numbers anew; the old one stays until the new one is whole."""
    columns = _column_names(rows)
    with swapped_in(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def as_columns(rows: list[Row]) -> dict[str, np.ndarray]:
    """Columns of shape (rows,) by name, NaN where a row has no such figure."""
    names = _column_names(rows)
    return {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}


def _column_names(rows: list[Row]) -> list[str]:
    """Every name once, the step first."""
    return list(dict.fromkeys([STEP, *(name for row in rows for name in row)]))


class ProgressLog:
    """Appends rows to `progress.csv` and to TensorBoard's events.

    Args:
        path: The CSV file.
        tensorboard: Folder of the events.
        resume_step: None for a new file; otherwise rows after this step are dropped, since the
            checkpoint that training goes on from does not know of them.
    """

    def __init__(self, path: Path, tensorboard: Path, resume_step: int | None = None) -> None:
        self._path = path
        self._columns: list[str] = []
        self.last: Row = {}
        rows: list[Row] = []
        if resume_step is not None and path.exists():
            rows = [row for row in read_rows(path) if row.get(STEP, math.inf) <= resume_step]
        if rows:
            self._rewrite(rows)
        else:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
        self._events = _EventsFile(tensorboard, None if resume_step is None else resume_step + 1)

    def append(self, row: Row) -> None:
        """Adds a row. A figure that no row had before gets a column of its own.

        Raises:
            WriteError: The disk is full; earlier rows stay.
        """
        if set(row) <= set(self._columns):
            with writing(self._path), self._path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)
            self.last = row
        else:
            earlier = read_rows(self._path) if self._path.exists() else []
            self._rewrite([*earlier, row])
        self._events.append(row)

    def close(self) -> None:
        """Ends the events file; the CSV file is always up to date."""
        self._events.close()

    def _rewrite(self, rows: list[Row]) -> None:
        write_rows(self._path, rows)
        self._columns = _column_names(rows)
        self.last = rows[-1]


class _EventsFile:
    """TensorBoard's events, written at once.

    tensorboardX's own writer hands them to a thread; on a full disk that thread dies, and the
    next rows would wait for it for ever.
    """

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        self._folder = folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        if purge_step is not None:
            # Tells TensorBoard to forget what a killed process wrote from this step on.
            started = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=purge_step, session_log=started))

    def append(self, row: Row) -> None:
        finite = {name: value for name, value in row.items() if math.isfinite(value)}
        values = [Summary.Value(tag=name, simple_value=value) for name, value in finite.items()]
        event = Event(wall_time=time.time(), step=int(row[STEP]), summary=Summary(value=values))
        self._write(event)

    def _write(self, event: Event) -> None:
        with writing(self._folder):
            self._writer.write_event(event)
            self._writer.flush()

    def close(self) -> None:
        with writing(self._folder):
            self._writer.close()
