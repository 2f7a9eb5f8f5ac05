"""Encoders: from an observation dict to one latent vector."""

from __future__ import annotations

from collections.abc import Mapping

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

#: Name under which a flat ``Box`` observation is kept, as if it were ``Dict(state=Box)``.
FLAT_KEY = "state"


def observation_spaces(space: gym.Space) -> dict[str, gym.spaces.Box]:
    """The vector spaces of an observation space by name; a flat Box becomes ``{"state": Box}``.

    Args:
        space: A ``Box``, or a ``Dict`` of ``Box`` spaces.

    Returns:
        Spaces in the order of their names.

    Raises:
        ValueError: On any other space, naming the key at fault.
    """
    spaces = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {FLAT_KEY: space}
    for key, box in spaces.items():
        if not isinstance(box, gym.spaces.Box):
            raise ValueError(f"observation '{key}' is a {type(box).__name__}; expected a Box")
        if box.dtype == np.uint8 and len(box.shape) == 3:
            raise ValueError(
                f"observation '{key}' is an image {box.shape}; this version encodes vectors only. "
                "Make the environment without cameras"
            )
        if len(box.shape) != 1:
            raise ValueError(f"observation '{key}' has shape {box.shape}; expected (n,)")
    return {key: spaces[key] for key in sorted(spaces)}


class ScaleToUnit(nn.Module):
    """Scales a vector by its space's bounds to [−1, 1]; entries without finite bounds pass."""

    center: Tensor
    half_range: Tensor

    def __init__(self, space: gym.spaces.Box):
        super().__init__()
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        bounded = np.isfinite(low) & np.isfinite(high) & (high > low) & (high - low < 1e30)
        with np.errstate(over="ignore", invalid="ignore"):
            center = np.where(bounded, (low + high) / 2, 0.0)
            half_range = np.where(bounded, (high - low) / 2, 1.0)
        self.register_buffer("center", torch.as_tensor(center, dtype=torch.float32))
        self.register_buffer("half_range", torch.as_tensor(half_range, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Scale (B, n) to the unit box."""
        return (x.to(torch.float32) - self.center) / self.half_range


class VectorEncoder(nn.Sequential):
    """Linear, LayerNorm, Tanh over a scaled vector."""

    def __init__(self, space: gym.spaces.Box, size: int):
        super().__init__(
            ScaleToUnit(space), nn.Linear(space.shape[0], size), nn.LayerNorm(size), nn.Tanh()
        )


class ObservationEncoder(nn.Module):
    """One encoder for each entry of the observation, concatenated in the order of their names."""

    def __init__(self, space: gym.Space, size: int):
        super().__init__()
        self.parts = nn.ModuleDict(
            {key: VectorEncoder(box, size) for key, box in observation_spaces(space).items()}
        )
        self.latent_size = size * len(self.parts)

    def forward(self, observation: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Encode an observation (a dict of (B, n) tensors, or one such tensor) to (B, latent)."""
        if isinstance(observation, Tensor):
            observation = {FLAT_KEY: observation}
        return torch.cat([encode(observation[key]) for key, encode in self.parts.items()], dim=-1)
