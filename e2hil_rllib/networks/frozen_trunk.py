"""The frozen trunk: features of frames, computed once in a frame's life per process."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from e2hil_rllib.networks.camera_encoders import batch_channels_last
from e2hil_rllib.networks.trunk_stage import TrunkStage
from e2hil_rllib.networks.trunk_weights import (
    MEAN,
    STD,
    fingerprint,
    load_trunk_weights,
    save_trunk_weights,
)
from e2hil_rllib.networks.vision_settings import VisionSettings

# Frames whose features are remembered: those of an iteration of two cameras and some more.
_REMEMBERED = 2048
_FILE = "trunk-{}.safetensors"
_CHUNK = 64  # frames that pass the network together


class FrozenTrunk:
    """Features of frames, remembered by the frames' content.

    Whoever asks first in a process, acting, inserting or judging success, has them computed; the
    others get the same ones. Features are float16, as replay holds them. It is no parameter of
    the policy: it is neither trained, nor averaged, nor sent with the weights.

    Args:
        weights: Parameters of the network up to its stage.
        stage: Which network it is, and where it is cut.
        device: Where to compute.
        remembered: Frames whose features are kept.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        stage: TrunkStage,
        device: torch.device | str = "cpu",
        remembered: int = _REMEMBERED,
    ) -> None:
        self.weights = dict(weights)
        self.stage = stage
        #: Tells one trunk from another: network, stage and weights.
        self.fingerprint = stage.fingerprint(fingerprint(self.weights))
        #: Frames that have passed the network.
        self.computed = 0
        network = stage.network()
        network.load_state_dict(self.weights)
        self._network = stage.inference_network(network.eval().requires_grad_(False))
        self._network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = torch.device(device)
        self._mean = 255 * torch.tensor(MEAN, device=device)[:, None, None]
        self._std = 255 * torch.tensor(STD, device=device)[:, None, None]
        self._features: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._remembered = remembered
        self._lock = threading.Lock()

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Features of frames.

        Args:
            frames: Shape (B, H, W, 3), uint8.

        Returns:
            Shape (B, C, H/stride, W/stride), float16, as :meth:`TrunkStage.feature_shape` says.
        """
        keys = [_content(frame) for frame in frames]
        with self._lock:
            found = {key: self._features[key] for key in keys if key in self._features}
            missing = {key: i for i, key in enumerate(keys) if key not in found}
            for start in range(0, len(missing), _CHUNK):
                part = list(missing.items())[start : start + _CHUNK]
                found |= zip(
                    (key for key, _ in part), self._compute(frames[[i for _, i in part]]),
                    strict=True,
                )  # fmt: skip
            self._remember(found)
        if not keys:
            return np.empty((0, *self.stage.feature_shape(frames.shape[1:])), np.float16)
        return np.stack([found[key] for key in keys])

    @torch.no_grad()
    def _compute(self, frames: np.ndarray) -> np.ndarray:
        self.computed += len(frames)
        images = batch_channels_last(torch.from_numpy(frames).to(self._device))
        features = self._network((images - self._mean) / self._std)
        # A few channels of odd weights may leave the range of float16; infinity would spread.
        largest = torch.finfo(torch.float16).max
        halved: np.ndarray = features.clamp(-largest, largest).to(torch.float16).cpu().numpy()
        return halved

    def _remember(self, features: Mapping[bytes, np.ndarray]) -> None:
        for key, value in features.items():
            if key in self._features:
                self._features.move_to_end(key)
            else:  # a copy, so that one frame does not hold its whole batch in memory
                self._features[key] = value.copy()
        while len(self._features) > self._remembered:
            self._features.popitem(last=False)


class TrunkFeatures:
    """Puts features in the place of the frames of an observation: what replay holds.

    Args:
        trunk: Computes them.
        cameras: Names of the entries that are frames.
    """

    def __init__(self, trunk: FrozenTrunk, cameras: Collection[str]) -> None:
        self.trunk = trunk
        self._cameras = frozenset(cameras)

    def of_arrays(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Observations (B, ...) whose frames, uint8, became features, float16."""
        return {
            key: self.trunk.features(x) if key in self._cameras else x
            for key, x in observations.items()
        }

    def of_tensors(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same for tensors on any device."""
        return {
            key: torch.from_numpy(self.trunk.features(x.cpu().numpy())).to(x.device)
            if key in self._cameras
            else x
            for key, x in observation.items()
        }


@functools.lru_cache(maxsize=4)
def shared_trunk(source: str, stage: TrunkStage) -> FrozenTrunk:
    """The one trunk of this process for a source of weights and a stage.

    Args:
        source: As :func:`~e2hil_rllib.networks.trunk_weights.load_trunk_weights` takes it.
        stage: Which network it is, and where it is cut.

    Raises:
        TrunkWeightsError: The weights cannot be had; the message says why and what to do.
    """
    return FrozenTrunk(load_trunk_weights(source, stage), stage)


def features_for(vision: VisionSettings, cameras: Collection[str]) -> TrunkFeatures | None:
    """What replaces the frames of these cameras; None without a frozen trunk or a camera.

    Raises:
        TrunkWeightsError: The weights cannot be had; the message says why and what to do.
    """
    if not (vision.frozen and cameras):
        return None
    return TrunkFeatures(shared_trunk(vision.trunk_weights, vision.stage), cameras)


def save_trunk(trunk: FrozenTrunk, folder: Path, others: Iterable[Path] = ()) -> None:
    """Write a trunk's weights into a checkpoint, or link them to those of an earlier one."""
    file = folder / _FILE.format(trunk.fingerprint)
    for other in others:
        with contextlib.suppress(OSError):
            os.link(other / file.name, file)
            return
    save_trunk_weights(trunk.weights, file)


def saved_trunk(folder: Path | str) -> Path | None:
    """The file in which a checkpoint holds the weights of its frozen trunk, if it has one."""
    return next(iter(sorted(Path(folder).glob(_FILE.format("*")))), None)


def saved_fingerprint(folder: Path | str) -> str | None:
    """Fingerprint of the trunk whose weights a checkpoint holds, if it has one."""
    file = saved_trunk(folder)
    return None if file is None else file.stem.removeprefix(_FILE.split("{")[0])


def _content(frame: np.ndarray) -> bytes:
    contiguous: Any = np.ascontiguousarray(frame)
    return hashlib.blake2b(contiguous, digest_size=16).digest()
