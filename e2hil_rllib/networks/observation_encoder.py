"""Encoders: from an observation dict to one latent vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from e2hil_rllib.networks.camera_encoders import ConvolutionalEncoder, make_head
from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.random_shift import random_feature_shift, random_shift
from e2hil_rllib.networks.vision_settings import VisionSettings

#: Name under which a flat ``Box`` observation is kept, as if it were ``Dict(state=Box)``.
FLAT_KEY = "state"


def observation_spaces(space: gym.Space) -> dict[str, gym.spaces.Box]:
    """The spaces of an observation's entries by name; a flat Box becomes ``{"state": Box}``.

    Args:
        space: A ``Box``, or a ``Dict`` of ``Box`` spaces; each is a vector (n,), or frames
            (H, W, 3) of uint8.

    Returns:
        Spaces in the order of their names.

    Raises:
        ValueError: On any other space, naming the key at fault.
    """
    spaces = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {FLAT_KEY: space}
    for key, box in spaces.items():
        if not isinstance(box, gym.spaces.Box):
            raise ValueError(f"observation '{key}' is a {type(box).__name__}; expected a Box")
        if not is_camera(box) and len(box.shape) != 1:
            raise ValueError(
                f"observation '{key}' has shape {box.shape} and type {box.dtype}; expected a "
                "vector (n,), or frames (height, width, 3) of uint8"
            )
    return {key: spaces[key] for key in sorted(spaces)}


def is_camera(space: gym.spaces.Box) -> bool:
    """Whether an entry of an observation is RGB frames."""
    return space.dtype == np.uint8 and len(space.shape) == 3 and space.shape[2] == 3


def camera_names(space: gym.Space) -> list[str]:
    """Names of the entries of an observation space that are frames."""
    return [key for key, box in observation_spaces(space).items() if is_camera(box)]


def stored_spaces(
    space: gym.Space, vision: VisionSettings
) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type in which replay holds each entry of an observation.

    Frames stay uint8, or are replaced by the features of the frozen trunk, float16.
    """
    stored: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    for key, box in observation_spaces(space).items():
        if not is_camera(box):
            stored[key] = (box.shape, np.dtype(np.float32))
        elif vision.frozen:
            stored[key] = (vision.stage.feature_shape(box.shape), np.dtype(np.float16))
        else:
            stored[key] = (box.shape, np.dtype(np.uint8))
    return stored


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
    """Linear, LayerNorm, Tanh over a vector x in the unit box and its finer copies tanh(k·x).

    A millimetre is little in the unit box of a table: a network that has to turn over within a few
    of them learns it from far fewer samples where a finer scale shows them (as Fourier features do,
    arXiv:2006.10739). Entries of interest are relative ones, whose zero lies in the middle.

    Args:
        space: Of the vector.
        size: Width of the latent.
        fine_scales: The factors k.
    """

    def __init__(self, space: gym.spaces.Box, size: int, fine_scales: Sequence[float] = ()):
        inputs = space.shape[0] * (1 + len(fine_scales))
        super().__init__(ScaleToUnit(space), nn.Linear(inputs, size), nn.LayerNorm(size), nn.Tanh())
        self._fine_scales = tuple(fine_scales)

    def forward(self, x: Tensor, noise: NoiseStream | None = None) -> Tensor:
        """Latents (B, size) of vectors (B, n); there is no dropout to draw noise for."""
        scale, *layers = self
        x = scale(x)
        x = torch.cat([x, *(torch.tanh(factor * x) for factor in self._fine_scales)], dim=-1)
        for layer in layers:
            x = layer(x)
        return x


class ObservationEncoder(nn.Module):
    """One encoder for each entry of the observation, concatenated in the order of their names.

    Frames arrive as uint8 where the encoder is the trainable CNN, and as the frozen trunk's
    features otherwise.

    Args:
        space: The environment's observation space.
        size: Width of each entry's latent.
        vision: How frames are encoded.
        fine_scales: Of the vectors, see `VectorEncoder`.
    """

    def __init__(
        self,
        space: gym.Space,
        size: int,
        vision: VisionSettings | None = None,
        fine_scales: Sequence[float] = (),
    ):
        super().__init__()
        self._fine_scales = tuple(fine_scales)
        self._vision = vision or VisionSettings()
        self._cameras = camera_names(space)
        self.parts = nn.ModuleDict(
            {key: self._part(box, size) for key, box in observation_spaces(space).items()}
        )
        self.latent_size = size * len(self.parts)

    def _part(self, space: gym.spaces.Box, size: int) -> nn.Module:
        if not is_camera(space):
            return VectorEncoder(space, size, self._fine_scales)
        if self._vision.frozen:
            shape = self._vision.stage.feature_shape(space.shape)
            return make_head(self._vision.head, shape, size)
        return ConvolutionalEncoder(space.shape, size, self._vision.head)

    def augment(
        self, observation: Tensor | Mapping[str, Tensor], noise: NoiseStream
    ) -> dict[str, Tensor]:
        """An observation of a batch with each of its frames shifted at random.

        Features of a frozen trunk were computed once: they are shifted by whole cells.
        """
        observation = _named(observation)
        vision = self._vision
        shift = random_feature_shift if vision.frozen else random_shift
        padding = vision.feature_shift if vision.frozen else vision.random_shift
        if not padding:
            return observation
        shifted = {key: shift(observation[key], padding, noise) for key in self._cameras}
        return observation | shifted

    def forward(
        self, observation: Tensor | Mapping[str, Tensor], noise: NoiseStream | None = None
    ) -> Tensor:
        """Encode an observation of a batch of B to (B, latent).

        Args:
            observation: By name, each (B, ...), or the one entry of a flat observation space.
            noise: Where dropout of the camera encoders is drawn from; None is without dropout.
        """
        observation = _named(observation)
        return torch.cat(
            [encode(observation[key], noise) for key, encode in self.parts.items()], dim=-1
        )


def _named(observation: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {FLAT_KEY: observation} if isinstance(observation, Tensor) else dict(observation)
