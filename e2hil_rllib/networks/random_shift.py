"""Random shift, the augmentation of DrQ: pad by repeating the border, crop somewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from e2hil_rllib.networks.noise import NoiseStream


def random_shift(frames: Tensor, padding: int, noise: NoiseStream) -> Tensor:
    """Shift each frame by up to ``padding`` pixels along both axes.

    Args:
        frames: Shape (B, H, W, 3).
        padding: Largest shift [pixels].
        noise: Where the shifts are drawn from.

    Returns:
        Frames of the same shape and type; what comes in at a border repeats it.
    """
    height, width = frames.shape[1:3]
    shifts = noise.integers(2 * padding + 1, frames, 2).tolist()
    padded = _with_repeated_border(_with_repeated_border(frames, padding, 1), padding, 2)
    # Slices are copied by whole rows; indexing copies pixel by pixel and takes four times as long.
    return torch.stack(
        [frame[y : y + height, x : x + width] for frame, (y, x) in zip(padded, shifts, strict=True)]
    )


def random_feature_shift(features: Tensor, padding: int, noise: NoiseStream) -> Tensor:
    """Shift each feature map by up to ``padding`` whole cells along both axes.

    Args:
        features: Shape (B, C, H, W).
        padding: Largest shift [cells].
        noise: Where the shifts are drawn from.

    Returns:
        Features of the same shape and type; what comes in at a border repeats it.
    """
    batch, _, height, width = features.shape
    shifts = noise.integers(2 * padding + 1, features, 2) - padding
    # Cells are few: reading them by index is faster than a copy of each padded map.
    rows, columns = (
        (torch.arange(side, device=features.device) + shifts[:, axis, None]).clamp(0, side - 1)
        for axis, side in enumerate((height, width))
    )
    cells = (rows[:, :, None] * width + columns[:, None, :]).reshape(batch, 1, height * width)
    moved = features.flatten(2).gather(2, cells.expand(-1, features.shape[1], -1))
    return moved.view_as(features)


def _with_repeated_border(frames: Tensor, padding: int, axis: int) -> Tensor:
    first, last = frames.narrow(axis, 0, 1), frames.narrow(axis, frames.shape[axis] - 1, 1)
    width = [padding if dimension == axis else -1 for dimension in range(frames.dim())]
    return torch.cat([first.expand(width), frames, last.expand(width)], dim=axis)
