"""An episode on disk: one Parquet file each, with LeRobot's column names.

T steps have T + 1 observations. The file therefore has T + 1 rows: row t holds the observation
before step t and what the step did; the last row holds the frame that really followed the last
step, and null for everything that belongs to a step.
"""

from __future__ import annotations

import json
import logging
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.disk.files import swapped_in
from e2hil_rllib.disk.parquet_columns import (
    EPISODE,
    HUMAN,
    IMAGE_TYPE,
    SUCCESS,
    UNREADABLE,
    decode_images,
    decode_rows,
    encode_images,
    encode_rows,
    is_image,
    named_column,
    observation_column,
    step_column,
)
from e2hil_rllib.errors import UserError

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_METADATA_KEY = b"e2hil_rllib.episode"
# Parquet checks its pages by itself, but not its footer, where the metadata are.
_CHECKSUM_KEY = b"e2hil_rllib.episode.crc32"
_FILE_NAME = re.compile(r"episode_(\d{6,})\.parquet")


class DamagedEpisodeError(UserError):
    """An episode file that cannot be used; the message names the file and the fault."""

    def __init__(self, path: Path, fault: str) -> None:
        self.path = path
        self.fault = fault
        super().__init__(
            f"The episode file {path} is damaged: {fault}. Remove the file, or record the episode "
            "again."
        )


def write_episode(path: Path, episode: EpisodeSteps) -> None:
    """Writes an episode; the file is there whole or not at all.

    Args:
        path: Where to write, see `episode_path`. Its folder is made if there is none.
        episode: What to write.

    Raises:
        ValueError: The episode is not consistent; see ``EpisodeSteps.check``.
    """
    try:
        episode.check()
        table = _table_of(episode)
    except ValueError as error:
        raise ValueError(f"The episode for {path} is not written: {error}") from error
    with swapped_in(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_episode(path: Path) -> EpisodeSteps:
    """Reads an episode and checks all of it.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedEpisodeError: The file is cut short, or lacks something, or holds nonsense.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no episode file {path}.")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        table = file.read(use_threads=False)
        episode = _episode_of(table)
        episode.check()
    except UNREADABLE as error:
        fault = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedEpisodeError(path, fault.rstrip(".") or type(error).__name__) from error
    return episode


def episode_path(folder: Path | str, index: int) -> Path:
    """The file of an episode, e.g. `episode_000012.parquet`."""
    return Path(folder) / f"episode_{index:06d}.parquet"


def episode_files(folder: Path | str) -> list[Path]:
    """The episode files of a folder by index. Temporary and other files are left out.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder of episodes {folder}.")
    found = ((_FILE_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return [path for _, path in sorted((int(name[1]), path) for name, path in found if name)]


def read_episodes(folder: Path | str, *, skip_damaged: bool = False) -> list[EpisodeSteps]:
    """Reads every episode of a folder, by index.

    Args:
        folder: A folder of episode files.
        skip_damaged: Leave damaged files out, with a warning that names each.

    Raises:
        FileNotFoundError: There is no such folder.
        DamagedEpisodeError: A file is damaged and `skip_damaged` is off.
    """
    episodes = []
    for path in episode_files(folder):
        try:
            episodes.append(read_episode(path))
        except DamagedEpisodeError as error:
            if not skip_damaged:
                raise
            logger.warning("Left out: %s", error)
    return episodes


def _table_of(episode: EpisodeSteps) -> pa.Table:
    steps = episode.num_steps
    columns: dict[str, pa.Array] = {}
    layout: dict[str, dict[str, Any]] = {}
    for key, array in episode.observations.items():
        name = observation_column(key, array)
        if name in columns:
            raise ValueError(f"two observations, one of them {key!r}, would be column {name!r}")
        columns[name] = encode_images(array) if is_image(array) else encode_rows(array)
        layout[key] = {"column": name, "shape": array.shape[1:], "dtype": array.dtype.name}
    ends = {
        "next.done": episode.terminated or episode.truncated,
        "next.terminated": episode.terminated,
        "next.truncated": episode.truncated,
        SUCCESS: episode.succeed,
    }
    columns["action"] = encode_rows(episode.actions, then_null=True)
    columns["next.reward"] = pa.array([*episode.rewards.tolist(), None], pa.float32())
    columns[HUMAN] = pa.array([*episode.is_intervention.tolist(), None], pa.bool_())
    for name, flag in ends.items():
        columns[name] = pa.array([*[False] * (steps - 1), bool(flag), None], pa.bool_())
    frames = np.arange(steps + 1, dtype=np.int64)
    columns["timestamp"] = pa.array((frames / episode.fps).astype(np.float32))
    columns["frame_index"] = columns["index"] = pa.array(frames)
    columns[EPISODE] = pa.array(np.full_like(frames, episode.episode))
    columns["task_index"] = pa.array(np.zeros_like(frames))
    description = {
        "version": SCHEMA_VERSION,
        "fps": episode.fps,
        "task": episode.task,
        "origin": episode.origin,
        "action_dim": episode.actions.shape[1],
        "observations": layout,
    }
    text = json.dumps(description).encode()
    checksum = str(zlib.crc32(text)).encode()
    return pa.table(columns).replace_schema_metadata({_METADATA_KEY: text, _CHECKSUM_KEY: checksum})


def _episode_of(table: pa.Table) -> EpisodeSteps:
    metadata = table.schema.metadata or {}
    if not {_METADATA_KEY, _CHECKSUM_KEY} <= metadata.keys():
        raise ValueError(f"its metadata lack {_METADATA_KEY.decode()!r} or its checksum")
    text = metadata[_METADATA_KEY]
    if int(metadata[_CHECKSUM_KEY]) != zlib.crc32(text):
        raise ValueError("its metadata do not agree with their checksum")
    description = json.loads(text)
    if description["version"] != SCHEMA_VERSION:
        raise ValueError(
            f"its schema version is {description['version']}, expected {SCHEMA_VERSION}"
        )
    steps = table.num_rows - 1
    if steps < 1:
        raise ValueError(f"it has {table.num_rows} rows, expected at least 2")
    if named_column(table, "frame_index").to_pylist() != list(range(steps + 1)):
        raise ValueError(f"column 'frame_index' is not 0 to {steps}")
    observations = {}
    for key, entry in description["observations"].items():
        column = named_column(table, entry["column"])
        decode = decode_images if column.type == IMAGE_TYPE else decode_rows
        shape = (steps + 1, *entry["shape"])
        observations[key] = decode(entry["column"], column, shape, np.dtype(entry["dtype"]))

    def of_steps(name: str, dtype: type[np.generic]) -> np.ndarray:
        values = step_column(table, name).to_numpy(zero_copy_only=False)
        return values.astype(dtype)

    action = step_column(table, "action")
    action_shape = (steps, description["action_dim"])
    return EpisodeSteps(
        episode=named_column(table, EPISODE)[0].as_py(),
        observations=observations,
        actions=decode_rows("action", action, action_shape, np.dtype(np.float32)),
        rewards=of_steps("next.reward", np.float32),
        is_intervention=of_steps(HUMAN, np.bool_),
        terminated=bool(of_steps("next.terminated", np.bool_)[-1]),
        truncated=bool(of_steps("next.truncated", np.bool_)[-1]),
        succeed=bool(of_steps(SUCCESS, np.bool_)[-1]),
        fps=description["fps"],
        task=description["task"],
        origin=description.get("origin", ""),
    )
