"""Which frozen network computes the features of a frame, and after which stage it is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from e2hil_rllib.networks.efficientnet_lite import EfficientNetLite0
from e2hil_rllib.networks.resnet import ResNet10T

Trunk = Literal["resnet10t", "efficientnet_lite0"]
Stride = Literal[8, 16, 32]

_NETWORKS: Mapping[str, type[ResNet10T] | type[EfficientNetLite0]] = {
    "resnet10t": ResNet10T,
    "efficientnet_lite0": EfficientNetLite0,
}


@dataclass(frozen=True)
class TrunkStage:
    """A network and the stage whose output is the features.

    Attributes:
        trunk: ``"resnet10t"`` or ``"efficientnet_lite0"``.
        stride: Height and width of a frame over those of its features; 32 is the whole network.

    Raises:
        ValueError: On a value out of its range, naming it.
    """

    trunk: Trunk = "resnet10t"
    stride: Stride = 32

    def __post_init__(self) -> None:
        for name, valid in (("trunk", get_args(Trunk)), ("stride", get_args(Stride))):
            value = getattr(self, name)
            if isinstance(value, bool) or value not in valid:
                raise ValueError(f"{name}={value!r}: must be one of {valid}")

    def network(self) -> ResNet10T | EfficientNetLite0:
        """A new network up to this stage."""
        return _NETWORKS[self.trunk](self.stride)

    def inference_network(self, network: nn.Module) -> nn.Module:
        """What computes the features of a network of this stage fastest, and trains no more."""
        return network.folded() if isinstance(network, EfficientNetLite0) else network

    def feature_shape(self, frame_shape: Sequence[int]) -> tuple[int, int, int]:
        """Channels, height and width of the features of frames (H, W, 3); sides are rounded up."""
        height, width = (-(-side // self.stride) for side in frame_shape[:2])
        return _NETWORKS[self.trunk].CHANNELS[self.stride], height, width

    def fingerprint(self, digest: str) -> str:
        """Name of weights at this stage: the digest alone for the whole ResNet-10-T.

        Checkpoints from before there was a choice name their trunk so.
        """
        if self == TrunkStage():
            return digest
        return f"{self.trunk}-stride{self.stride}-{digest}"

    def __str__(self) -> str:
        return f"{self.trunk} at stride {self.stride}"
