"""What the network takes: frames as they are, or the frozen trunk's features of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from e2hil_rllib.classifier.augmentation import augmented
from e2hil_rllib.classifier.dataset import LabelledEpisode
from e2hil_rllib.networks.frozen_trunk import FrozenTrunk
from e2hil_rllib.networks.noise import NoiseStream

#: Augmented copies of each training frame whose features a frozen trunk computes up front.
COPIES = 3
_NEAR = 3  # steps
_CHUNK = 64


class Inputs(Protocol):
    """N labelled frames, in the form that the network takes."""

    success: np.ndarray
    #: Frames just before or after success came or went: the hard ones.
    near_change: np.ndarray

    def varied(self, indices: np.ndarray, noise: NoiseStream) -> dict[str, Tensor]:
        """Augmented inputs (B, ...) by camera, to learn from."""
        ...

    def plain(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Inputs (B, ...) by camera of the frames as they are."""
        ...


class FrameInputs:
    """Frames of episodes for the trainable CNN, augmented anew whenever they are drawn."""

    def __init__(self, episodes: list[LabelledEpisode]) -> None:
        self.success = np.concatenate([episode.success for episode in episodes])
        self.near_change = np.concatenate([e.near_change(_NEAR) for e in episodes])
        self._episodes = episodes  # not in one piece: that would take their memory once more
        self._starts = np.cumsum([0, *(len(episode.success) for episode in episodes)])

    def varied(self, indices: np.ndarray, noise: NoiseStream) -> dict[str, Tensor]:
        """Augmented frames (B, H, W, 3) by camera."""
        return {camera: augmented(x, noise) for camera, x in self.plain(indices).items()}

    def plain(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Frames (B, H, W, 3) by camera, uint8."""
        which = np.searchsorted(self._starts, indices, side="right") - 1
        places = list(zip(which, indices - self._starts[which], strict=True))
        return {
            camera: torch.from_numpy(
                np.stack([self._episodes[episode].frames[camera][row] for episode, row in places])
            )
            for camera in self._episodes[0].frames
        }


class FeatureInputs:
    """Features of frames for a head on the frozen trunk, computed up front.

    The trunk costs a hundred times what the head does, so that a frame is augmented a few times
    instead of anew whenever it is drawn.

    Args:
        frames: Where the frames and the truth come from.
        trunk: Computes the features.
        copies: Augmented copies of each frame; 0 if nothing learns from them.
        noise: Where the augmentation is drawn from.
        on_progress: Called with the passes so far and the passes in all.
    """

    def __init__(
        self,
        frames: FrameInputs,
        trunk: FrozenTrunk,
        copies: int,
        noise: NoiseStream,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.success, self.near_change = frames.success, frames.near_change
        number = len(self.success)
        #: By camera, copies first: shape (max(1, copies), N, 512, H/32, W/32), float16.
        self._features: dict[str, np.ndarray] = {}
        passes = max(1, copies)
        for copy in range(passes):
            for start in range(0, number, _CHUNK):
                indices = np.arange(start, min(start + _CHUNK, number))
                batch = frames.varied(indices, noise) if copies else frames.plain(indices)
                for camera, images in batch.items():
                    features = trunk.features(images.numpy())
                    if camera not in self._features:
                        shape = (passes, number, *features.shape[1:])
                        self._features[camera] = np.empty(shape, np.float16)
                    self._features[camera][copy, indices] = features
                on_progress(copy * number + int(indices[-1]) + 1, passes * number)

    def varied(self, indices: np.ndarray, noise: NoiseStream) -> dict[str, Tensor]:
        """Features of one of the copies of each frame."""
        passes = len(next(iter(self._features.values())))
        copy = noise.integers(passes, torch.empty(len(indices), 1), 1)[:, 0].numpy()
        return {c: torch.from_numpy(x[copy, indices]) for c, x in self._features.items()}

    def plain(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Features of the first copy, which is the frame itself where none is augmented."""
        return {c: torch.from_numpy(x[0, indices]) for c, x in self._features.items()}


def frames_at(episodes: list[LabelledEpisode], indices: np.ndarray) -> list[LabelledEpisode]:
    """Some frames of episodes, counted over all of them; episodes without one are left out."""
    ends = np.cumsum([len(episode.success) for episode in episodes])
    kept = np.split(indices, np.searchsorted(indices, ends[:-1]))
    starts = [0, *ends[:-1]]
    return [
        LabelledEpisode(
            name=episode.name,
            frames={camera: array[rows - start] for camera, array in episode.frames.items()},
            success=episode.success[rows - start],
            steps=episode.steps[rows - start],
        )
        for episode, rows, start in zip(episodes, kept, starts, strict=True)
        if len(rows)
    ]
