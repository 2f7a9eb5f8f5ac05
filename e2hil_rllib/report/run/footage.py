"""Single frames of an episode file, decoded on demand."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from e2hil_rllib.data.episodes import DamagedEpisodeError
from e2hil_rllib.disk.parquet_columns import (
    EPISODE,
    HUMAN,
    IMAGE_TYPE,
    IMAGES,
    SUCCESS,
    UNREADABLE,
    named_column,
    step_column,
)

Frames = Mapping[str, np.ndarray]
"""Frames of a moment by camera, uint8, shape (height, width, 3)."""


class Footage:
    """Episode file whose frames are decoded one by one.

    A report shows a few frames of many episodes; reading them whole would take seconds.

    Args:
        path: Episode file, see ``e2hil_rllib.data.episodes``.

    Attributes:
        path: Episode file.
        episode: Index of the episode in its recording.
        is_human: Whether a human led each of the T steps, bool (T,).
        succeeded: Whether the task was solved.
        cameras: Names of the cameras; empty for an episode without frames.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedEpisodeError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise FileNotFoundError(f"There is no episode file {path}.")
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            table = self._file.read([EPISODE, HUMAN, SUCCESS], use_threads=False)
            self.episode: int = named_column(table, EPISODE)[0].as_py()
            human = step_column(table, HUMAN)
            self.is_human = np.array(human.to_pylist(), bool)
            self.succeeded = any(step_column(table, SUCCESS).to_pylist())
            self.cameras = [
                field.name.removeprefix(IMAGES)
                for field in self._file.schema_arrow
                if field.name.startswith(IMAGES) and field.type == IMAGE_TYPE
            ]
        except UNREADABLE as error:
            raise _damaged(path, error) from error

    @property
    def num_steps(self) -> int:
        """Number of steps T; there are T + 1 frames."""
        return len(self.is_human)

    def frames(self, steps: Sequence[int]) -> list[Frames]:
        """Return the frames before some steps; the one before step T is after the last step.

        Raises:
            DamagedEpisodeError: A frame is missing or cannot be decoded.
        """
        try:
            table = self._file.read([IMAGES + name for name in self.cameras], use_threads=False)
            images = {
                name: _decoded(named_column(table, IMAGES + name).take(pa.array(steps)))
                for name in self.cameras
            }
        except UNREADABLE as error:
            raise _damaged(self.path, error) from error
        return [{name: images[name][i] for name in self.cameras} for i in range(len(steps))]


def _decoded(column: pa.Array) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(io.BytesIO(row["bytes"]), formats=["PNG"]).convert("RGB"))
        for row in column.to_pylist()
    ]


def _damaged(path: Path, error: Exception) -> DamagedEpisodeError:
    return DamagedEpisodeError(path, str(error).rstrip(".") or type(error).__name__)
