"""The trained classifier: a folder on disk, and the probability of success in memory."""

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
# What json, safetensors and torch raise on files that are not what they should be.
_UNREADABLE = (
    SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
)  # fmt: skip
_TRAIN = "Train one with e2hil classifier train"


class ClassifierError(UserError):
    """A classifier that cannot be loaded, or does not fit; the message says what to do."""


class SuccessClassifier:
    """Tells from one frame of each of its cameras how probable it is that the task is solved.

    Args:
        network: The trained network.
        frame_shapes: Height, width and 3 by camera.
        threshold: From which probability on a frame counts as success.
        trunk: The frozen trunk whose features the network takes; None if it takes frames.
        description: All that its file says.
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
        """The cameras that it looks through."""
        return tuple(self.frame_shapes)

    @classmethod
    def load(cls, folder: Path | str) -> SuccessClassifier:
        """The classifier that `e2hil classifier train` wrote.

        Raises:
            ClassifierError: There is none in the folder, it is damaged, or the frozen trunk that
                it was trained on is another one now.
            TrunkWeightsError: The frozen trunk's weights cannot be had.
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
                f"{_TRAIN} anew, or copy the whole folder again."
            ) from error
        trunk = _trunk_of(description, folder) if frozen else None
        return cls(network, shapes, threshold, trunk, description)

    def save(self, folder: Path) -> None:
        """Writes its two files into a folder that is there."""
        tensors = {name: x.contiguous() for name, x in self._network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS)
        text = json.dumps(self.description, indent=2, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")

    @torch.no_grad()
    def probability(self, frames: Mapping[str, np.ndarray]) -> Any:
        """How probable it is that the frames show the solved task.

        Args:
            frames: By camera, uint8 of shape (H, W, 3), or (B, H, W, 3) for a batch; entries
                that are none of its cameras are not looked at.

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
        """Refuses an environment whose frames are not those it was trained on.

        Raises:
            ClassifierError: As `probability`.
        """
        entries = space.spaces if isinstance(space, gymnasium.spaces.Dict) else {}
        self._check({name: (entry.shape or (), entry.dtype) for name, entry in entries.items()})

    def _check(self, given: Mapping[str, tuple[tuple[int, ...], Any]]) -> bool:
        """Whether what is given is one frame of each camera; False for batches of one length."""
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
                    "cameras and resolutions of the training data, or train anew."
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
    """What a classifier's file must say, so that `SuccessClassifier.load` can read it.

    Args:
        frame_shapes: Height, width and 3 by camera.
        threshold: From which probability on a frame counts as success.
        trunk: The frozen trunk; None if the network takes frames.
        trunk_weights: Where the trunk's weights come from.
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
            f"reads {VERSION}. {_TRAIN} anew."
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
            "it was trained with, or train anew."
        )
    return trunk
