"""How the policy's camera frames are encoded: one validated object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from e2hil_rllib.networks.trunk_stage import Stride, Trunk, TrunkStage

Encoder = Literal["cnn", "frozen"]
Head = Literal["spatial", "keypoints"]

_MOST_CELLS = 4


def absolute_source(trunk_weights: str) -> str:
    """A source of weights that means the same in every folder: a file's path becomes absolute."""
    if not trunk_weights.endswith(".safetensors"):
        return trunk_weights
    return str(Path(trunk_weights).expanduser().resolve())


@dataclass(frozen=True)
class VisionSettings:
    """Encoder of camera frames.

    Raises:
        ValueError: On a value out of its range, naming it.
    """

    #: "cnn" trains a small CNN; "frozen" trains a head on the features of a frozen trunk.
    encoder: Encoder = "cnn"
    #: The frozen trunk: "resnet10t", or "efficientnet_lite0", which takes less time.
    trunk: Trunk = "resnet10t"
    #: Where the frozen trunk is cut: side of a frame over that of its features; 32 is all of it.
    stride: Stride = 32
    #: Weights of the frozen trunk: "seed:N", "package", a .safetensors file, or a hub id.
    trunk_weights: str = "seed:0"
    #: What is trained above the features: "spatial" sums over their maps, "keypoints" says where in
    #: its maps most is seen.
    head: Head = "spatial"
    #: Largest random shift of the CNN's frames in training [pixels]; 0 is without.
    random_shift: int = 4
    #: Largest random shift of the frozen trunk's features in training [cells]; 0 is without.
    feature_shift: int = 0

    def __post_init__(self) -> None:
        for name, valid in (("encoder", get_args(Encoder)), ("head", get_args(Head))):
            if getattr(self, name) not in valid:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be one of {valid}")
        _ = self.stage  # it validates itself
        if not isinstance(self.trunk_weights, str) or not self.trunk_weights:
            raise ValueError(
                f"trunk_weights={self.trunk_weights!r}: must be 'seed:N', 'package', a "
                ".safetensors file, or a hub id such as 'timm/resnet10t.c3_in1k'"
            )
        if not isinstance(self.random_shift, int) or not 0 <= self.random_shift <= 16:
            raise ValueError(
                f"random_shift={self.random_shift!r}: must be a whole number of pixels, 0 to 16"
            )
        if not isinstance(self.feature_shift, int) or not 0 <= self.feature_shift <= _MOST_CELLS:
            raise ValueError(
                f"feature_shift={self.feature_shift!r}: must be a whole number of cells, 0 to "
                f"{_MOST_CELLS}"
            )
        if self.feature_shift and not self.frozen:
            raise ValueError(
                f"feature_shift={self.feature_shift} with encoder='cnn', whose frames "
                "random_shift shifts: set feature_shift to 0"
            )

    @property
    def frozen(self) -> bool:
        """Whether frames pass the frozen trunk."""
        return self.encoder == "frozen"

    @property
    def stage(self) -> TrunkStage:
        """The frozen trunk's network, and where it is cut."""
        return TrunkStage(self.trunk, self.stride)
