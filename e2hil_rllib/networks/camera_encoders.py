"""Trainable encoders of camera frames: a small CNN, and the heads above it or a frozen trunk."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.vision_settings import Head

SPATIAL_FEATURES = 8
"""Weighted sums that the spatial embedding takes over each channel's map, as in HIL-SERL."""

DROPOUT = 0.1
"""Share of the spatial embedding that is left out in training."""

KEYPOINTS = 32
"""Maps whose most likely place the keypoint head looks for."""

_TEMPERATURE = 0.5  # at the start; the maps' values deviate by about as much
_EPSILON = 1e-6  # of a mean square
_CHANNELS = 32
_CONVOLUTIONS = 4


def batch_channels_last(frames: Tensor) -> Tensor:
    """Frames (B, H, W, 3) as (B, 3, H, W) float32, laid out as they were.

    Convolutions on a CPU are nearly twice as fast on this layout as on a rearranged copy.
    """
    return frames.permute(0, 3, 1, 2).to(torch.float32)


class ConvolutionalTrunk(nn.Sequential):
    """Four 3x3 convolutions of stride 2 with 32 channels each.

    DrQ's encoder has stride 1 in all but its first layer, which costs five times as much for each
    update on a CPU.
    """

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for _ in range(_CONVOLUTIONS):
            layers += [
                nn.Conv2d(channels, _CHANNELS, 3, stride=2, padding=1),
                nn.ReLU(inplace=True),
            ]
            channels = _CHANNELS
        super().__init__(*layers)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @staticmethod
    def feature_shape(frame_shape: Sequence[int]) -> tuple[int, int, int]:
        """Channels, height and width of the features of frames (H, W, 3)."""
        height, width = (-(-side // 2**_CONVOLUTIONS) for side in frame_shape[:2])
        return _CHANNELS, height, width

    def forward(self, frames: Tensor) -> Tensor:
        """Features (B, 32, H/16, W/16) of frames (B, H, W, 3), uint8."""
        features: Tensor = super().forward(batch_channels_last(frames).div_(255).sub_(0.5))
        return features


class SpatialHead(nn.Module):
    """Spatial learned embedding, Dropout, Linear, LayerNorm, Tanh over a feature map.

    The embedding takes ``SPATIAL_FEATURES`` weighted sums over the positions of each channel's
    map, so that it keeps where something is seen (SERL's encoder head).

    Args:
        feature_shape: Channels, height and width of the feature map.
        size: Width of the latent.
    """

    def __init__(self, feature_shape: Sequence[int], size: int) -> None:
        super().__init__()
        channels, height, width = feature_shape
        self.kernel = nn.Parameter(torch.empty(channels, height * width, SPATIAL_FEATURES))
        nn.init.normal_(self.kernel, std=(height * width) ** -0.5)
        self.linear = nn.Linear(channels * SPATIAL_FEATURES, size)
        self.norm = nn.LayerNorm(size)

    def forward(self, features: Tensor, noise: NoiseStream | None = None) -> Tensor:
        """Latents (B, size) of features (B, C, H, W); dropout where there is noise to draw from."""
        maps = features.to(torch.float32).flatten(2).transpose(0, 1)
        embedding = torch.bmm(maps, self.kernel).transpose(0, 1).flatten(1)
        if noise is not None:
            keep = noise.keep_mask(embedding, 1 - DROPOUT)
            embedding = embedding * keep / (1 - DROPOUT)
        return torch.tanh(self.norm(self.linear(embedding)))


class KeypointHead(nn.Module):
    """Where something is seen: spatial softmax, Linear, LayerNorm, Tanh over a feature map.

    A 1×1 convolution makes ``KEYPOINTS`` maps; a softmax with a learned temperature over each map's
    positions gives its expected x and y (Levine et al., 2016, "End-to-End Training of Deep
    Visuomotor Policies"), and its largest value says how clearly it is seen. Features are divided
    by their root mean square over the frame first: trunks differ tenfold in it, and a softmax of
    large numbers is one position that hardly learns.

    Args:
        feature_shape: Channels, height and width of the feature map.
        size: Width of the latent.
    """

    places: Tensor

    def __init__(self, feature_shape: Sequence[int], size: int) -> None:
        super().__init__()
        channels, height, width = feature_shape
        self.maps = nn.Linear(channels, KEYPOINTS)
        self.log_temperature = nn.Parameter(torch.full((KEYPOINTS,), math.log(_TEMPERATURE)))
        y, x = torch.meshgrid(_centers(height), _centers(width), indexing="ij")
        self.register_buffer("places", torch.stack([x.flatten(), y.flatten()], dim=1))
        self.linear = nn.Linear(3 * KEYPOINTS, size)
        self.norm = nn.LayerNorm(size)

    def keypoints(self, features: Tensor) -> Tensor:
        """Expected x and y of each map in [−1, 1], and its largest value.

        Args:
            features: Shape (B, C, H, W).

        Returns:
            Shape (B, ``KEYPOINTS``, 3): x from left to right, y from top to bottom, largest value.
        """
        x = features.to(torch.float32).flatten(2)
        x = x * (x.square().mean(dim=(1, 2), keepdim=True) + _EPSILON).rsqrt()
        # The convolution as one product, already divided by the temperature: both halve the time.
        temperature = self.log_temperature.exp()
        weight = self.maps.weight / temperature[:, None]
        maps = (weight @ x.transpose(0, 1).flatten(1)).view(KEYPOINTS, *x.shape[::2])
        places = torch.softmax(maps, dim=-1) @ self.places  # which the bias does not move
        largest = maps.max(dim=-1).values * temperature[:, None] + self.maps.bias[:, None]
        return torch.cat([places, largest[..., None]], dim=-1).transpose(0, 1)

    def forward(self, features: Tensor, noise: NoiseStream | None = None) -> Tensor:
        """Latents (B, size) of features (B, C, H, W); there is no dropout to draw noise for."""
        return torch.tanh(self.norm(self.linear(self.keypoints(features).flatten(1))))


def _centers(number: int) -> Tensor:
    """Centres of so many cells that divide [−1, 1]."""
    return (2 * torch.arange(number) + 1) / number - 1


def make_head(head: Head, feature_shape: Sequence[int], size: int) -> SpatialHead | KeypointHead:
    """A new head over a feature map (C, H, W), of this name."""
    kind = KeypointHead if head == "keypoints" else SpatialHead
    return kind(feature_shape, size)


class ConvolutionalEncoder(nn.Module):
    """The trainable CNN with its head: frames (B, H, W, 3), uint8, to latents (B, size)."""

    def __init__(self, frame_shape: Sequence[int], size: int, head: Head = "spatial") -> None:
        super().__init__()
        self.trunk = ConvolutionalTrunk()
        self.head = make_head(head, self.trunk.feature_shape(frame_shape), size)

    def forward(self, frames: Tensor, noise: NoiseStream | None = None) -> Tensor:
        """Latents (B, size) of frames; dropout where there is noise to draw from."""
        latent: Tensor = self.head(self.trunk(frames), noise)
        return latent
