"""Random shift, the augmentation of DrQ: pad by repeating the border, crop somewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from e2hil_rllib.noise import NoiseStream


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


def _with_repeated_border(frames: Tensor, padding: int, axis: int) -> Tensor:
    first, last = frames.narrow(axis, 0, 1), frames.narrow(axis, frames.shape[axis] - 1, 1)
    width = [padding if dimension == axis else -1 for dimension in range(frames.dim())]
    return torch.cat([first.expand(width), frames, last.expand(width)], dim=axis)
