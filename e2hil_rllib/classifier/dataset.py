"""Frames with the truth about success, as training reads them from folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from e2hil_rllib.data.episodes import episode_files, read_episode
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.disk.parquet_columns import is_image
from e2hil_rllib.errors import UserError

_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")
# Neighbouring pictures of a folder mostly come from one recording: so many stay together.
_PICTURES_PER_EPISODE = 20
# A step that solves the task is rewarded with 1; a dense reward adds far less than this.
_REWARD_OF_SUCCESS = 0.5


class DatasetError(UserError):
    """Data that no classifier can be trained on; the message names them and says what to do."""


@dataclass(frozen=True, eq=False)
class LabelledEpisode:
    """N frames of one episode, each with the truth.

    Attributes:
        name: Where they come from, for reports.
        frames: uint8 of shape (N, height, width, 3) by camera.
        success: True where the frame shows the solved task, bool, shape (N,).
        steps: Each frame's place in its episode, shape (N,).
    """

    name: str
    frames: dict[str, np.ndarray]
    success: np.ndarray
    steps: np.ndarray

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Height, width and 3 by camera."""
        return {camera: frames.shape[1:] for camera, frames in self.frames.items()}

    def near_change(self, steps: int) -> np.ndarray:
        """Whether there is a frame of the other label so few steps before or after, shape (N,)."""
        apart = np.abs(self.steps[:, None] - self.steps[None, :]) <= steps
        near: np.ndarray = (apart & (self.success[:, None] != self.success[None, :])).any(axis=1)
        return near


def label_episode(episode: EpisodeSteps, name: str, unsure_steps: int = 0) -> LabelledEpisode:
    """Labels an episode's T + 1 frames by its rewards.

    The frame that followed a step is a success where the step was rewarded with 1, and the last
    frame where the episode succeeded. All others are failures.

    Args:
        episode: A recorded episode.
        name: What to call it in reports.
        unsure_steps: Frames left out before each success. A person presses the key of success a
            moment after it; what the frames of that moment show nobody knows.
    """
    success = np.concatenate([[False], episode.rewards >= _REWARD_OF_SUCCESS])
    success[-1] |= episode.succeed
    before_success = np.zeros_like(success)
    for ahead in range(1, unsure_steps + 1):
        before_success[:-ahead] |= success[ahead:]
    kept = np.flatnonzero(success | ~before_success)
    frames = {key: value[kept] for key, value in episode.observations.items() if is_image(value)}
    return LabelledEpisode(name, frames, success[kept], kept)


def read_recordings(
    folders: Sequence[Path], cameras: Sequence[str] | None = None, unsure_steps: int = 0
) -> list[LabelledEpisode]:
    """Labelled episodes of folders of recordings, by their own rewards.

    Args:
        folders: Folders of episode files.
        cameras: Which cameras to take; None takes those of the first episode.
        unsure_steps: See `label_episode`.

    Raises:
        DatasetError: A folder is absent or empty, or an episode lacks a camera.
        DamagedEpisodeError: A file is damaged.
    """
    episodes: list[LabelledEpisode] = []
    for folder in folders:
        for path in _files_of(folder):
            episode = label_episode(read_episode(path), str(path), unsure_steps)
            episodes.append(with_cameras(episode, cameras or list(episode.frames)))
            cameras = cameras or list(episode.frames)
    return _alike(episodes)


def read_sorted(
    success: Path, failure: Path, cameras: Sequence[str] | None = None
) -> list[LabelledEpisode]:
    """Labelled episodes of two folders, one whose frames all show success, one where none does.

    Args:
        success: A folder of episode files, or of PNG and JPEG pictures.
        failure: Another one.
        cameras: Which cameras to take; None takes those of the first episode. Pictures are of
            one camera, which has to be named.

    Raises:
        DatasetError: A folder is absent or empty, pictures differ in size or their camera is not
            named, or an episode lacks a camera.
        DamagedEpisodeError: A file is damaged.
    """
    episodes: list[LabelledEpisode] = []
    for folder, shows_success in ((success, True), (failure, False)):
        pictures = _pictures_of(folder)
        if pictures:
            found = _read_pictures(pictures, cameras)
        else:
            found = read_recordings([folder], cameras)
        episodes += [replace(e, success=np.full(len(e.steps), shows_success)) for e in found]
        cameras = cameras or list(episodes[0].frames)
    return _alike(episodes)


def with_cameras(episode: LabelledEpisode, cameras: Sequence[str]) -> LabelledEpisode:
    """The same episode with these cameras only.

    Raises:
        DatasetError: It lacks one, or has none at all.
    """
    if not episode.frames:
        raise DatasetError(
            f"{episode.name} was recorded without cameras, and a success classifier sees nothing "
            "else. Record with cameras, e.g. --set 'env.cameras=[front, wrist]'."
        )
    missing = [camera for camera in cameras if camera not in episode.frames]
    if missing:
        raise DatasetError(
            f"{episode.name} has no camera {missing[0]!r}, it has {sorted(episode.frames)}. Name "
            "cameras that every episode has, with --cameras."
        )
    return replace(episode, frames={camera: episode.frames[camera] for camera in cameras})


def _files_of(folder: Path) -> list[Path]:
    files = episode_files(folder) if folder.is_dir() else []
    if not files:
        what = "holds no episode files" if folder.is_dir() else "is no folder"
        raise DatasetError(
            f"{folder} {what}. Expected recorded episodes (episode_000000.parquet, ...), as e2hil "
            "record writes them, or as a run keeps them in its folder episodes/."
        )
    return files


def _pictures_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DatasetError(
            f"{folder} is no folder. Expected a folder of recorded episodes or of pictures."
        )
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGE_ENDINGS)


def _read_pictures(paths: list[Path], cameras: Sequence[str] | None) -> list[LabelledEpisode]:
    """Pictures in the order of their names, neighbours together as if they were an episode."""
    if cameras is None or len(cameras) != 1:
        raise DatasetError(
            f"{paths[0].parent} holds pictures: say of which camera, with --cameras NAME. For "
            "several cameras record episodes."
        )
    episodes = []
    for start in range(0, len(paths), _PICTURES_PER_EPISODE):
        chosen = paths[start : start + _PICTURES_PER_EPISODE]
        pictures = [_read_picture(path) for path in chosen]
        for path, picture in zip(chosen, pictures, strict=True):
            if picture.shape != pictures[0].shape:
                raise DatasetError(
                    f"{path} is {_size(picture.shape)} pixels, {chosen[0].name} "
                    f"{_size(pictures[0].shape)}. Bring all pictures to the size that the "
                    "camera's frames have in the environment."
                )
        episodes.append(
            LabelledEpisode(
                name=str(chosen[0]),
                frames={cameras[0]: np.stack(pictures)},
                success=np.zeros(len(chosen), bool),
                steps=np.arange(len(chosen)),
            )
        )
    return episodes


def _read_picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise DatasetError(
            f"The picture {path} cannot be read: {error}. Remove it, or save it again."
        ) from error


def _alike(episodes: list[LabelledEpisode]) -> list[LabelledEpisode]:
    """Refuses episodes whose frames differ in size."""
    for episode in episodes:
        for camera, shape in episode.shapes.items():
            expected = episodes[0].shapes[camera]
            if shape != expected:
                raise DatasetError(
                    f"{episode.name} has frames of {_size(shape)} pixels from camera {camera!r}, "
                    f"{episodes[0].name} of {_size(expected)}. Leave one of them out: a "
                    "classifier sees frames of one size."
                )
    return episodes


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"
