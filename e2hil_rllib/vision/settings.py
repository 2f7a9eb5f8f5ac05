"""How the policy's camera frames are encoded: one validated object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Encoder = Literal["cnn", "frozen"]


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

    #: "cnn" trains a small CNN; "frozen" trains a head on the features of a frozen ResNet-10-T.
    encoder: Encoder = "cnn"
    #: Weights of the frozen trunk: "seed:N", a .safetensors file, or a hub id.
    trunk_weights: str = "seed:0"
    #: Largest random shift of the CNN's frames in training [pixels]; 0 is without.
    random_shift: int = 4

    def __post_init__(self) -> None:
        if self.encoder not in get_args(Encoder):
            raise ValueError(f"encoder={self.encoder!r}: must be one of {get_args(Encoder)}")
        if not isinstance(self.trunk_weights, str) or not self.trunk_weights:
            raise ValueError(
                f"trunk_weights={self.trunk_weights!r}: must be 'seed:N', a .safetensors file, or "
                "a hub id such as 'timm/resnet10t.c3_in1k'"
            )
        if not isinstance(self.random_shift, int) or not 0 <= self.random_shift <= 16:
            raise ValueError(
                f"random_shift={self.random_shift!r}: must be a whole number of pixels, 0 to 16"
            )

    @property
    def frozen(self) -> bool:
        """Whether frames pass the frozen trunk."""
        return self.encoder == "frozen"
