"""All samples that a run logged in ``selection/``, and the arm's positions in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from e2hil_rllib.data.episodes import episode_path
from e2hil_rllib.disk.parquet_columns import EPISODE, UNREADABLE, named_column
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.run.selection_log import DamagedSelectionError, read_samples, selection_files

_STATE = "observation.state"  # LeRobot's name of the observation's entry `state`


class _NoPositionError(Exception):
    """Observations of a run without the arm's position."""


@dataclass(frozen=True, eq=False)
class LoggedSamples:
    """Samples of all minibatches that a run logged.

    Attributes:
        episode: Episode of each sample, int64 (n,); -1 - m is episode m of the demonstrations.
        step: Step of each sample within its episode, int64 (n,).
        source: Source of each sample, an index of ``SOURCE_NAMES``, uint8 (n,).
        magnitude: |c|, float32 (n,).
        kept: Mask of the selection, bool (n,).
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
    """Read the whole log of a run.

    Args:
        run: Run folder.
        notes: List that gets a line for each damaged file.

    Returns:
        None where there is no readable file.
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


def demonstrations_of(run: RunFolder) -> Path:
    """Return the folder of a run's demonstrations, recorded in it or given."""
    given = run.settings().demonstrations
    return Path(given.path) if given is not None and given.path else run.demonstrations


def tcp_positions(run: RunFolder, samples: LoggedSamples, notes: list[str]) -> np.ndarray:
    """Return the positions of the arm's tool centre point at samples.

    They are the last three entries of the observation's ``state``.

    Args:
        run: Run folder with the episodes of training and the demonstrations.
        samples: Samples of that run.
        notes: List that gets a line for each damaged file, and one that counts missing samples.

    Returns:
        Positions in the base's frame [m], shape (n, 3); NaN for a sample whose episode is not on
        disk.
    """
    demonstrations = demonstrations_of(run)
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
            missing += len(rows)  # still open at the end, or deleted
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
    """Return the TCP's positions in an episode of T steps [m], shape (T + 1, 3).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds another episode.
        _NoPositionError: Its observations have no position of the arm.
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
