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
    batch, height, width = frames.shape[:3]
    shift = noise.integers(2 * padding + 1, frames, 2) - padding  # (B, 2)
    rows = _shifted(height, shift[:, 0], frames.device)[:, :, None]
    columns = _shifted(width, shift[:, 1], frames.device)[:, None, :]
    return frames[torch.arange(batch, device=frames.device)[:, None, None], rows, columns]


def _shifted(length: int, shift: Tensor, device: torch.device) -> Tensor:
    """For each frame (B,) the source of each pixel along one axis, shape (B, length)."""
    return (torch.arange(length, device=device) + shift[:, None]).clamp(0, length - 1)
