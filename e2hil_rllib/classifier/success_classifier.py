"""Trained success classifier: its folder on disk, and its probability of success."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from e2hil_rllib.classifier.network import STAGE, ClassifierNetwork
from e2hil_rllib.errors import UserError
from e2hil_rllib.networks.frozen_trunk import FrozenTrunk, shared_trunk
from e2hil_rllib.networks.vision_settings import absolute_source

DESCRIPTION = "classifier.json"
WEIGHTS = "weights.safetensors"
VERSION = 1
# Errors of json, safetensors and torch on damaged files.
_UNREADABLE = (
    SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
)  # fmt: skip
_TRAIN = "Train one with e2hil classifier train"


class ClassifierError(UserError):
    """A classifier that is missing, damaged or unfit; the message says what to do."""


class SuccessClassifier:
    """Classifier of success from one frame of each of its cameras.

    Args:
        network: Trained network.
        frame_shapes: Height, width and 3 by camera.
        threshold: Lowest probability of a frame that counts as success.
        trunk: Frozen trunk whose features the network takes; None if it takes frames.
        description: Content of its file.
    """

    def __init__(
        self,
        network: ClassifierNetwork,
        frame_shapes: Mapping[str, Sequence[int]],
        threshold: float,
        trunk: FrozenTrunk | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        self.threshold = threshold
        self.frame_shapes = {camera: tuple(shape) for camera, shape in frame_shapes.items()}
        self.description = dict(description or {})
        self._network = network.eval()
        self._trunk = trunk

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of its cameras."""
        return tuple(self.frame_shapes)

    @classmethod
    def load(cls, folder: Path | str) -> SuccessClassifier:
        """Load a classifier that ``e2hil classifier train`` wrote.

        Raises:
            ClassifierError: The folder holds none, it is damaged, or the frozen trunk is no longer
                the one that it was trained on.
            TrunkWeightsError: The frozen trunk's weights are not available.
        """
        folder = Path(folder).expanduser()
        try:
            description = _read_description(folder)
            shapes = {str(name): tuple(shape) for name, shape in description["cameras"].items()}
            threshold, frozen = float(description["threshold"]), description["encoder"] == "frozen"
            network = ClassifierNetwork(shapes, frozen)
            network.load_state_dict(load_file(folder / WEIGHTS))
        except _UNREADABLE as error:
            reason = str(error).strip().split("\n")[0]
            raise ClassifierError(
                f"The success classifier {folder} is damaged ({type(error).__name__}: {reason}). "
                f"{_TRAIN} again, or copy the whole folder again."
            ) from error
        trunk = _trunk_of(description, folder) if frozen else None
        return cls(network, shapes, threshold, trunk, description)

    def save(self, folder: Path) -> None:
        """Write its two files into an existing folder."""
        tensors = {name: x.contiguous() for name, x in self._network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS)
        text = json.dumps(self.description, indent=2, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")

    @torch.no_grad()
    def probability(self, frames: Mapping[str, np.ndarray]) -> Any:
        """Return the probability that the frames show the solved task.

        Args:
            frames: Frames by camera, uint8, shape (H, W, 3), or (B, H, W, 3) for a batch; entries
                of other names are ignored.

        Returns:
            A float, or float64 of shape (B,) for a batch.

        Raises:
            ClassifierError: A camera is missing, or its frames have another shape or type than
                those it was trained on.
        """
        single = self._check({name: (x.shape, x.dtype) for name, x in frames.items()})
        batch = {name: np.asarray(frames[name]) for name in self.cameras}
        if single:
            batch = {name: array[None] for name, array in batch.items()}
        if self._trunk is not None:
            batch = {name: self._trunk.features(array) for name, array in batch.items()}
        inputs = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in batch.items()}
        result = torch.sigmoid(self._network(inputs).double()).numpy()
        return float(result[0]) if single else result

    def check_space(self, space: gymnasium.Space[Any]) -> None:
        """Refuse an environment whose frames are not those it was trained on.

        Raises:
            ClassifierError: As ``probability``.
        """
        entries = space.spaces if isinstance(space, gymnasium.spaces.Dict) else {}
        self._check({name: (entry.shape or (), entry.dtype) for name, entry in entries.items()})

    def _check(self, given: Mapping[str, tuple[tuple[int, ...], Any]]) -> bool:
        """Return whether the input is one frame of each camera; False for batches."""
        leading = set()
        for camera, expected in self.frame_shapes.items():
            if camera not in given:
                raise ClassifierError(
                    f"The success classifier looks through camera {camera!r}, but there is only "
                    f"{sorted(given)}. Give the environment the cameras {list(self.cameras)}, or "
                    "train a classifier for those it has."
                )
            shape, dtype = given[camera]
            if shape[-3:] != expected or len(shape) > 4 or dtype != np.uint8:
                raise ClassifierError(
                    f"Camera {camera!r} gives {dtype} frames of shape {shape}; the success "
                    f"classifier was trained on uint8 of {expected}. Give the environment the "
                    "cameras and resolutions of the training data, or train it again."
                )
            leading.add(shape[:-3])
        if len(leading) > 1:
            raise ClassifierError(
                f"The cameras give batches of different lengths, {sorted(leading)}. Give one "
                "frame of each camera for each moment."
            )
        return leading == {()}


def describe(
    frame_shapes: Mapping[str, Sequence[int]],
    threshold: float,
    trunk: FrozenTrunk | None,
    trunk_weights: str,
) -> dict[str, Any]:
    """Return the required content of a classifier's file, as ``SuccessClassifier.load`` reads it.

    Args:
        frame_shapes: Height, width and 3 by camera.
        threshold: Lowest probability of a frame that counts as success.
        trunk: Frozen trunk; None if the network takes frames.
        trunk_weights: Source of the trunk's weights.
    """
    return {
        "version": VERSION,
        "encoder": "cnn" if trunk is None else "frozen",
        "trunk_weights": None if trunk is None else absolute_source(trunk_weights),
        "trunk_fingerprint": None if trunk is None else trunk.fingerprint,
        "cameras": {camera: list(shape) for camera, shape in frame_shapes.items()},
        "threshold": threshold,
    }


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not path.exists():
        raise ClassifierError(
            f"{folder} holds no success classifier (there is no {DESCRIPTION} in it). Check the "
            f"path, or: {_TRAIN} --out {folder}"
        )
    description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if description["version"] != VERSION:
        raise ClassifierError(
            f"The success classifier {folder} has version {description['version']}, this program "
            f"reads {VERSION}. {_TRAIN} again."
        )
    return description


def _trunk_of(description: Mapping[str, Any], folder: Path) -> FrozenTrunk:
    source = description.get("trunk_weights")
    expected = description.get("trunk_fingerprint")
    trunk = shared_trunk(str(source), STAGE)
    if trunk.fingerprint != expected:
        raise ClassifierError(
            f"The success classifier {folder} was trained on trunk weights {source!r} with "
            f"fingerprint {expected}, but they have {trunk.fingerprint} now. Bring back the file "
            "it was trained with, or train it again."
        )
    return trunk
