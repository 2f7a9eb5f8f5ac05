"""What the selection thought of each sample of a minibatch, on disk, over the whole of a run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2hil_rllib.disk.files import remove_file, swapped_in
from e2hil_rllib.errors import UserError

#: Files that a log holds at most.
LARGEST = 200

_FILE_NAME = re.compile(r"step_(\d{9,})\.parquet")
_METADATA_KEY = b"e2hil_rllib.method.selection"
_TYPES = {
    "episode": np.int64,
    "step": np.int64,
    "source": np.uint8,
    "influence": np.float32,
    "kept": np.bool_,
}
# What pyarrow and json raise on bytes that are not what they should be.
_UNREADABLE = (pa.ArrowException, ValueError, TypeError, KeyError, OSError)


class DamagedSelectionError(UserError):
    """A file of a selection log that cannot be used; the message names it and the fault."""


@dataclass(frozen=True, eq=False)
class JudgedSamples:
    """A minibatch of B samples as the selection saw it.

    Attributes:
        episode: Of each sample, int64 (B,); -1 - n is episode n of the demonstrations.
        step: Of each sample within its episode, int64 (B,).
        source: Codes of `transitions.SOURCE_NAMES`, uint8 (B,).
        influence: c, float32 (B,).
        kept: The selection's mask, bool (B,).
        lower: ℓ, the lower bound of |c|.
        upper: u, the upper bound of |c|.
        rule: What the mask was made by, one of `selection.RULES`.
        enabled: Whether the actor learned from the kept samples alone; if not, from all of them.
    """

    episode: np.ndarray
    step: np.ndarray
    source: np.ndarray
    influence: np.ndarray
    kept: np.ndarray
    lower: float
    upper: float
    rule: str
    enabled: bool

    def __len__(self) -> int:
        return len(self.influence)


class SelectionLog:
    """A folder with one file for each of at most `LARGEST` iterations of a run.

    The files cover the run evenly: there is one for each interval of steps, the last one that was
    written in it. When there would be too many intervals they become twice as long, and every
    second file goes. The newest file is always that of the last iteration.

    Args:
        folder: Where the files go; it is made with the first one.
        interval: Steps of the environment in an iteration.
    """

    def __init__(self, folder: Path, interval: int) -> None:
        self._folder = folder
        self._interval = interval
        self._goes_on_from: int | None = 0

    def go_on_from(self, step: int) -> None:
        """Take a run up again that was set back to a step: the next write drops later files."""
        self._goes_on_from = step

    def write(self, step: int, samples: JudgedSamples) -> None:
        """Write the file of an iteration; it is there whole or not at all.

        Args:
            step: Steps of the environment so far.
            samples: The newest minibatch that was judged.

        Raises:
            WriteError: The disk is full, or cannot be written to for another reason.
        """
        if self._goes_on_from is not None:
            _remove(path for at, path in selection_files(self._folder) if at > self._goes_on_from)
            self._goes_on_from = None
        with swapped_in(self._folder / f"step_{step:09d}.parquet") as temporary:
            pq.write_table(_table_of(samples), temporary, write_page_checksum=True)
        _remove(self._superseded(step))

    def _superseded(self, step: int) -> list[Path]:
        """All but the last file of each interval; the intervals are the shortest that will do."""
        length = self._interval
        while math.ceil(step / length) > LARGEST:
            length *= 2
        files = selection_files(self._folder)
        last_of = {math.ceil(at / length): path for at, path in files}
        return [path for at, path in files if last_of[math.ceil(at / length)] != path]


def selection_files(folder: Path) -> list[tuple[int, Path]]:
    """The files of a log with the step of each, oldest first; none where there is no folder."""
    if not folder.is_dir():
        return []
    found = ((_FILE_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(name[1]), path) for name, path in found if name)


def read_samples(path: Path) -> JudgedSamples:
    """Reads a file of a log and checks it.

    Raises:
        DamagedSelectionError: The file is cut short, or lacks something.
    """
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
        described = json.loads((table.schema.metadata or {})[_METADATA_KEY])
        columns = {
            name: table.column(name).to_numpy().astype(dtype) for name, dtype in _TYPES.items()
        }
        return JudgedSamples(
            **columns,
            lower=float(described["lower"]),
            upper=float(described["upper"]),
            rule=str(described["rule"]),
            enabled=bool(described["enabled"]),
        )
    except _UNREADABLE as error:
        fault = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedSelectionError(
            f"The selection's file {path} is damaged: {fault.rstrip('.')}. Remove it; nothing but "
            "the report reads it."
        ) from error


def _table_of(samples: JudgedSamples) -> pa.Table:
    columns = {name: getattr(samples, name).astype(dtype) for name, dtype in _TYPES.items()}
    described = {name: getattr(samples, name) for name in ("lower", "upper", "rule", "enabled")}
    return pa.table(columns).replace_schema_metadata({_METADATA_KEY: json.dumps(described)})


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        remove_file(path)
