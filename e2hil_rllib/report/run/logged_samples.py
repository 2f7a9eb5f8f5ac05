"""All samples that a run logged in `selection/`, and where the arm was in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from e2hil_rllib.data.episodes import episode_path
from e2hil_rllib.disk.parquet_columns import EPISODE, UNREADABLE, named_column
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.run.selection_log import DamagedSelectionError, read_samples, selection_files

#: LeRobot's name of the entry `state` of an observation.
_STATE = "observation.state"


class _NoPositionError(Exception):
    """The observations of a run do not say where the arm was."""


@dataclass(frozen=True, eq=False)
class LoggedSamples:
    """Samples of all minibatches that a run logged.

    Attributes:
        episode: Of each sample, int64 (n,); -1 - m is episode m of the demonstrations.
        step: Of each sample within its episode, int64 (n,).
        source: Codes of `transitions.SOURCE_NAMES`, uint8 (n,).
        magnitude: |c|, float32 (n,).
        kept: The selection's mask, bool (n,).
        enabled: Whether the actor learned from the kept samples alone.
    """

    episode: np.ndarray
    step: np.ndarray
    source: np.ndarray
    magnitude: np.ndarray
    kept: np.ndarray
    enabled: bool

    def __len__(self) -> int:
        return len(self.magnitude)


def logged_samples(run: RunFolder, notes: list[str]) -> LoggedSamples | None:
    """Reads the whole log of a run; None where there is nothing that can be read.

    Args:
        run: Its folder.
        notes: Gets a line for each damaged file.
    """
    read = []
    for _, path in selection_files(run.selection):
        try:
            read.append(read_samples(path))
        except DamagedSelectionError as error:
            notes.append(str(error))
    if not read:
        return None
    return LoggedSamples(
        episode=np.concatenate([samples.episode for samples in read]),
        step=np.concatenate([samples.step for samples in read]),
        source=np.concatenate([samples.source for samples in read]),
        magnitude=np.abs(np.concatenate([samples.influence for samples in read])),
        kept=np.concatenate([samples.kept for samples in read]),
        enabled=read[-1].enabled,
    )


def tcp_positions(run: RunFolder, samples: LoggedSamples, notes: list[str]) -> np.ndarray:
    """Where the arm's tool centre point was when each sample was taken.

    The last three entries of an episode's `state` are its x, y and z.

    Args:
        run: With the episodes of training and the demonstrations.
        samples: Of that run.
        notes: Gets a line for each damaged file, and one that counts what was not found.

    Returns:
        Shape (n, 3) [m] in the base's frame; NaN for a sample whose episode is not on disk.
    """
    given = run.settings().demonstrations
    demonstrations = Path(given.path) if given is not None and given.path else run.demonstrations
    positions = np.full((len(samples), 3), np.nan)
    missing = 0
    episodes, place = np.unique(samples.episode, return_inverse=True)
    for number, episode in enumerate(episodes.tolist()):
        rows = np.flatnonzero(place == number)
        index, folder = (episode, run.episodes) if episode >= 0 else (-1 - episode, demonstrations)
        try:
            track = _track(episode_path(folder, index), index)
            steps = samples.step[rows]
            if steps.max() >= len(track):
                raise ValueError(f"it has no step {steps.max()}")
        except FileNotFoundError:
            missing += len(rows)  # still open at the end, or taken away by somebody
            continue
        except _NoPositionError as error:
            notes.append(f"{run.root}: {error}.")
            break
        except UNREADABLE as error:
            notes.append(f"The episode file {episode_path(folder, index)} is damaged: {error}.")
            continue
        positions[rows] = track[steps]
    if missing:
        notes.append(
            f"{run.root}: the episodes of {missing} of {len(samples)} samples are not on disk."
        )
    return positions


def _track(path: Path, index: int) -> np.ndarray:
    """The TCP's positions in an episode of T steps, shape (T + 1, 3) [m].

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds another episode.
        _NoPositionError: Its observations do not say where the arm was.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    file = pq.ParquetFile(path, page_checksum_verification=True)
    if _STATE not in file.schema_arrow.names:
        raise _NoPositionError("observations have no 'state', which ends with the TCP's position")
    table = file.read([EPISODE, _STATE], use_threads=False)
    found = named_column(table, EPISODE)[0].as_py()
    if found != index:
        raise ValueError(f"it holds episode {found}; it seems to be renamed")
    states = named_column(table, _STATE)
    values = states.flatten().to_numpy(zero_copy_only=False).reshape(len(states), -1)
    if values.shape[1] < 3:
        raise _NoPositionError(f"a 'state' of {values.shape[1]} entries holds no TCP's position")
    return values[:, -3:]
