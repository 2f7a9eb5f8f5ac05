"""Frames as another position of the camera or another light would have shown them."""

from __future__ import annotations

import torch
from torch import Tensor

from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.random_shift import random_shift

_SHIFT = 2  # [pixels]; a touch or a grip is a matter of few
_BRIGHTNESS = 0.15  # largest change, as a share of the whole range
_CONTRAST = 0.2  # largest change of the distance from the frame's mean, as a share of it
_COLOR = 0.1  # largest change of each of red, green and blue, as a share of it


def augmented(frames: Tensor, noise: NoiseStream) -> Tensor:
    """Shifts each frame and changes its brightness, its contrast and its colours.

    Args:
        frames: Shape (B, H, W, 3), uint8.
        noise: Where the changes are drawn from.

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
