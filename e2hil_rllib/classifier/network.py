"""The classifier's network: one encoder per camera, then a small head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from e2hil_rllib.networks.camera_encoders import ConvolutionalEncoder, SpatialHead
from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.trunk_stage import TrunkStage

#: The frozen trunk of classifiers.
STAGE = TrunkStage()

_LATENT = 256  # per camera
_HIDDEN = 256


class ClassifierNetwork(nn.Module):
    """The logit of success from one frame of each camera.

    Args:
        frame_shapes: Height, width and 3 by camera; the order of the cameras is that of the
            encoders.
        frozen: Take features of the frozen trunk instead of frames.
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
        """Logits (B,).

        Args:
            inputs: By camera, frames (B, H, W, 3), uint8, or the frozen trunk's features of them
                (B, 512, H/32, W/32), float16.
            noise: Where dropout is drawn from in training; None is without.
        """
        latents = [
            encode(inputs[camera], noise)
            for camera, encode in zip(self.cameras, self.encoders, strict=True)
        ]
        logits: Tensor = self.head(torch.cat(latents, dim=-1))
        return logits.squeeze(-1)
