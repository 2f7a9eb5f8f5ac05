"""Network of the classifier: one encoder per camera, then a small head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from e2hil_rllib.networks.camera_encoders import ConvolutionalEncoder, SpatialHead
from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.trunk_stage import TrunkStage

STAGE = TrunkStage()
"""Frozen trunk of classifiers."""

_LATENT = 256  # per camera
_HIDDEN = 256


class ClassifierNetwork(nn.Module):
    """Logit of success from one frame of each camera.

    Args:
        frame_shapes: Height, width and 3 by camera, in the order of the encoders.
        frozen: Whether the inputs are features of the frozen trunk instead of frames.
    """

    def __init__(self, frame_shapes: Mapping[str, Sequence[int]], frozen: bool) -> None:
        super().__init__()
        self.cameras = tuple(frame_shapes)
        self.encoders = nn.ModuleList(
            SpatialHead(STAGE.feature_shape(shape), _LATENT)
            if frozen
            else ConvolutionalEncoder(shape, _LATENT)
            for shape in frame_shapes.values()
        )
        self.head = nn.Sequential(
            nn.Linear(_LATENT * len(self.cameras), _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1)
        )

    def forward(self, inputs: Mapping[str, Tensor], noise: NoiseStream | None = None) -> Tensor:
        """Return the logits, shape (B,).

        Args:
            inputs: Frames by camera, uint8, shape (B, H, W, 3), or the frozen trunk's features of
                them, float16, shape (B, 512, H/32, W/32).
            noise: Random stream of dropout in training; None disables dropout.
        """
        latents = [
            encode(inputs[camera], noise)
            for camera, encode in zip(self.cameras, self.encoders, strict=True)
        ]
        logits: Tensor = self.head(torch.cat(latents, dim=-1))
        return logits.squeeze(-1)
