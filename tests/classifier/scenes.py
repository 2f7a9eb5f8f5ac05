"""Synthetic episodes: a red square that approaches a blue one; side by side is success."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from e2hil_rllib.classifier.dataset import LabelledEpisode
from e2hil_rllib.data.episodes import episode_path, write_episode
from e2hil_rllib.data.transitions import EpisodeSteps

SIZE = 32


def frame(gap: int, height: int = 12, light: int = 0) -> np.ndarray:
    """Return the two squares with a gap [pixels] between them, uint8, shape (32, 32, 3)."""
    picture = np.full((SIZE, SIZE, 3), 90 + light, np.uint8)
    picture[height : height + 6, 22:28] = (30, 30, 220)
    left = max(0, 16 - gap)
    picture[height : height + 6, left : left + 6] = (220, 30, 30)
    return picture


def episode(
    index: int, *, solved: bool, after: int = 4, cameras: tuple[str, ...] = ("front",)
) -> EpisodeSteps:
    """Return ten steps of approach, followed by some frames of success if it is solved."""
    rng = np.random.default_rng(index)
    height, light = int(rng.integers(4, 22)), int(rng.integers(-20, 20))
    gaps = [*np.linspace(14, 4, 11).astype(int), *[0] * (after if solved else 0)]
    frames = np.stack([frame(int(gap), height, light) for gap in gaps])
    steps = len(gaps) - 1
    rewards = np.array([float(gap == 0) for gap in gaps[1:]], np.float32)
    return EpisodeSteps(
        episode=index,
        observations=dict.fromkeys(cameras, frames) | {"state": np.zeros((len(gaps), 2))},
        actions=np.zeros((steps, 2), np.float32),
        rewards=rewards,
        is_intervention=np.zeros(steps, bool),
        terminated=False,
        truncated=True,
        succeed=solved,
        fps=10.0,
        task="squares",
    )


def write_episodes(folder: Path, solved: int = 6, failed: int = 4, **options: object) -> Path:
    """Write episode files, the solved ones first."""
    for index in range(solved + failed):
        made = episode(index, solved=index < solved, **options)  # type: ignore[arg-type]
        write_episode(episode_path(folder, index), made)
    return folder


def labelled(
    name: str, success: list[int], size: int = 4, cameras: tuple[str, ...] = ("front",)
) -> LabelledEpisode:
    """Return black frames with labels."""
    number = len(success)
    frames = {camera: np.zeros((number, size, size, 3), np.uint8) for camera in cameras}
    return LabelledEpisode(name, frames, np.array(success, bool), np.arange(number))
