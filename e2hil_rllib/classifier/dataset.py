"""Labelled frames of episodes: reading from folders, and splitting into train, choose and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from e2hil_rllib.data.episodes import episode_files, read_episode
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.disk.parquet_columns import is_image
from e2hil_rllib.errors import UserError

_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")
# Neighbouring pictures of a folder mostly come from one recording, and stay in one part.
_PICTURES_PER_EPISODE = 20
# A step that solves the task is rewarded with 1; a dense reward adds far less than this.
_REWARD_OF_SUCCESS = 0.5


class DatasetError(UserError):
    """Data unfit to train a classifier on; the message names them and says what to do."""


@dataclass(frozen=True, eq=False)
class LabelledEpisode:
    """N frames of one episode, each with its label.

    Attributes:
        name: Origin of the frames, for reports.
        frames: Frames by camera, uint8, shape (N, height, width, 3).
        success: Whether each frame shows the solved task, bool, shape (N,).
        steps: Step of each frame in its episode, shape (N,).
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
        """Return which frames have one of the other label within some steps, bool, shape (N,)."""
        apart = np.abs(self.steps[:, None] - self.steps[None, :]) <= steps
        near: np.ndarray = (apart & (self.success[:, None] != self.success[None, :])).any(axis=1)
        return near


def label_episode(episode: EpisodeSteps, name: str, unsure_steps: int = 0) -> LabelledEpisode:
    """Label an episode's T + 1 frames by its rewards.

    The frame after a step is a success where the step was rewarded with 1, and the last frame
    where the episode succeeded. All others are failures.

    Args:
        episode: Recorded episode.
        name: Name of the episode in reports.
        unsure_steps: Number of frames to leave out before each success. A person presses the
            success key a moment after the success; the labels of that moment are uncertain.
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
    """Read recorded episodes, labelled by their own rewards.

    Args:
        folders: Folders of episode files.
        cameras: Cameras to read; None takes those of the first episode.
        unsure_steps: See ``label_episode``.

    Raises:
        DatasetError: A folder is missing or empty, or an episode lacks a camera.
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
    """Read episodes or pictures from a folder of successes and a folder of failures.

    Args:
        success: Folder of episode files, or of PNG and JPEG pictures, that all show success.
        failure: The same for frames of which none shows success.
        cameras: Cameras to read; None takes those of the first episode. Pictures are of one
            camera, which has to be named.

    Raises:
        DatasetError: A folder is missing or empty, pictures differ in size or their camera is not
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
    """Return the episode with some of its cameras only.

    Raises:
        DatasetError: It lacks one of them, or has none at all.
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
    """Read pictures in the order of their names, grouped as if neighbours were an episode."""
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
    """Refuse episodes whose frames differ in size, and return the others."""
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


HELD_OUT = 0.2
"""Share of the episodes to choose weights and threshold on, and share of those to test on."""

_FEWEST = 3  # episodes of a kind, so that each part has one


@dataclass(frozen=True)
class Split:
    """Three parts of the data that share no episode.

    Attributes:
        train: Episodes to learn from.
        choose: Episodes to choose the weights and the threshold on.
        test: Episodes to report figures of; nothing is chosen on them.
    """

    train: list[LabelledEpisode]
    choose: list[LabelledEpisode]
    test: list[LabelledEpisode]

    def sizes(self) -> dict[str, dict[str, int]]:
        """Return the numbers of episodes, frames and success frames of each part."""
        return {
            field.name: {
                "episodes": len(part),
                "frames": sum(len(episode.success) for episode in part),
                "success_frames": sum(int(episode.success.sum()) for episode in part),
            }
            for field in fields(self)
            for part in [getattr(self, field.name)]
        }


def split_episodes(episodes: list[LabelledEpisode], seed: int) -> Split:
    """Split by whole episodes, since neighbouring frames are nearly the same.

    Episodes with and without success are dealt out separately, so that each part has its share.

    Args:
        episodes: Episodes to split.
        seed: Seed of the split.

    Raises:
        DatasetError: There are too few episodes for three parts that each show both success and
            failure; the message counts them.
    """
    rng = np.random.default_rng(np.random.SeedSequence([0x5911, seed]))
    parts: tuple[list[LabelledEpisode], ...] = ([], [], [])
    kinds = [[e for e in episodes if e.success.any() == shows] for shows in (True, False)]
    for kind in kinds:
        order = [kind[index] for index in rng.permutation(len(kind))]
        held = max(1, round(HELD_OUT * len(order))) if len(order) >= _FEWEST else 0
        for part, chosen in zip(
            parts, (order[2 * held :], order[:held], order[held : 2 * held]), strict=True
        ):
            part += chosen
    split = Split(*parts)
    for size in split.sizes().values():
        if not 0 < size["success_frames"] < size["frames"]:
            raise DatasetError(
                f"{len(kinds[0])} episodes that show success and {len(kinds[1])} that do not are "
                f"too few: training, the choice of the threshold and the test need both, and "
                f"share no episode. Record at least {_FEWEST} of each; 50 are a good start."
            )
    return split
