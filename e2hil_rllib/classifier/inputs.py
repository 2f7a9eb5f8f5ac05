"""Inputs of the network: frames or frozen features of them, augmented for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from e2hil_rllib.classifier.dataset import LabelledEpisode
from e2hil_rllib.networks.frozen_trunk import FrozenTrunk
from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.random_shift import random_shift

COPIES = 3
"""Augmented copies of each training frame whose features a frozen trunk computes up front."""

_NEAR = 3  # steps
_CHUNK = 64


class Inputs(Protocol):
    """N labelled frames in the network's input form."""

    success: np.ndarray
    #: Whether a frame is just before or after a change of the label: the hard ones, bool (N,).
    near_change: np.ndarray

    def varied(self, indices: np.ndarray, noise: NoiseStream) -> dict[str, Tensor]:
        """Return augmented inputs (B, ...) by camera, to learn from."""
        ...

    def plain(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Return inputs (B, ...) by camera of the frames as they are."""
        ...


class FrameInputs:
    """Frames of episodes for the trainable CNN, augmented at each draw."""

    def __init__(self, episodes: list[LabelledEpisode]) -> None:
        self.success = np.concatenate([episode.success for episode in episodes])
        self.near_change = np.concatenate([e.near_change(_NEAR) for e in episodes])
        self._episodes = episodes  # not in one piece: that would take their memory once more
        self._starts = np.cumsum([0, *(len(episode.success) for episode in episodes)])

    def varied(self, indices: np.ndarray, noise: NoiseStream) -> dict[str, Tensor]:
        """Return augmented frames (B, H, W, 3) by camera, uint8."""
        return {camera: augmented(x, noise) for camera, x in self.plain(indices).items()}

    def plain(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Return frames (B, H, W, 3) by camera, uint8."""
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

    The trunk costs a hundred times as much as the head, so that a frame is augmented a few times
    instead of at each draw.

    Args:
        frames: Labelled frames.
        trunk: Frozen trunk that computes the features.
        copies: Augmented copies of each frame; 0 for frames that are not learned from.
        noise: Random stream of the augmentation.
        on_progress: Callback with the number of frames so far and in all.
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
        """Return the features of one of the copies of each frame, drawn."""
        passes = len(next(iter(self._features.values())))
        copy = noise.integers(passes, torch.empty(len(indices), 1), 1)[:, 0].numpy()
        return {c: torch.from_numpy(x[copy, indices]) for c, x in self._features.items()}

    def plain(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Return the features of the first copy, which is the frame itself without augmentation."""
        return {c: torch.from_numpy(x[0, indices]) for c, x in self._features.items()}


def frames_at(episodes: list[LabelledEpisode], indices: np.ndarray) -> list[LabelledEpisode]:
    """Return some frames of episodes; episodes without any of them are left out.

    Args:
        episodes: Labelled episodes.
        indices: Sorted indices of the frames, counted over all episodes.
    """
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


_SHIFT = 2  # [pixels]; a touch or a grip is a matter of few
_BRIGHTNESS = 0.15  # largest change, as a share of the whole range
_CONTRAST = 0.2  # largest change of the distance from the frame's mean, as a share of it
_COLOR = 0.1  # largest change of each of red, green and blue, as a share of it


def augmented(frames: Tensor, noise: NoiseStream) -> Tensor:
    """Shift frames and change their light, as another camera pose or another day would.

    Args:
        frames: Frames, uint8, shape (B, H, W, 3).
        noise: Random stream of the changes.

    Returns:
        New frames of the same shape and type.
    """
    shifted = random_shift(frames, _SHIFT, noise).to(torch.float32)
    draws = 2 * torch.rand((len(frames), 5), generator=noise.generator) - 1
    brightness, contrast, color = draws.to(frames.device)[:, None, None].split([1, 1, 3], dim=-1)
    mean = shifted.mean(dim=(1, 2, 3), keepdim=True)
    # One gain and one offset for each frame and colour, so that the frames are passed once.
    gain = (1 + _CONTRAST * contrast) * (1 + _COLOR * color)
    offset = 255 * _BRIGHTNESS * brightness - mean * gain + mean * (1 + _COLOR * color)
    return shifted.mul_(gain).add_(offset).clamp_(0, 255).to(torch.uint8)
