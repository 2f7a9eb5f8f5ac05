"""A chunk: consecutive steps of one episode on their way from a robot to its learner."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any

import numpy as np

from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.disk.parquet_columns import is_image
from e2hil_rllib.external.protocol.codec import Limits, MessageError, decode, encode
from e2hil_rllib.external.protocol.pixels import compress_images, decompress_images

#: What the id of a robot's recording looks like; it is also the name of a folder.
STREAM = re.compile(r"[A-Za-z0-9_-]{1,64}")

_VERSION = 1
_LARGEST = 2**63 - 1  # of an index, so that it fits into a column
_LIMITS = Limits()
_WIRE_TYPES: dict[str, type] = {
    "version": int,
    "stream": str,
    "sequence": int,
    "episode": int,
    "first_step": int,
    "observations": dict,
    "actions": np.ndarray,
    "rewards": np.ndarray,
    "is_intervention": np.ndarray,
    "terminated": bool,
    "truncated": bool,
    "succeed": bool,
    "fps": float,
    "task": str,
}
_PACKED_KEYS = {"shape", "zstd"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Chunk(EpisodeSteps):
    """Steps of one episode with their place in what the robot sends.

    The chunks of an episode follow each other without a gap; the last observation of one is the
    first of the next. The episode's index counts within the stream.

    Attributes:
        stream: Id of the robot's recording, 1 to 64 characters of A-Z, a-z, 0-9, _ and -.
        sequence: Number of the chunk in its stream, from 0 and consecutive.
    """

    stream: str
    sequence: int

    def check(self) -> None:
        """Refuse a chunk that cannot be learned from.

        Raises:
            ValueError: A shape, a type or a value is wrong; the message names the field.
        """
        check_stream(self.stream)
        for name in ("sequence", "episode", "first_step"):
            check_index(name, getattr(self, name))
        if self.succeed and not self.ends_episode:
            raise ValueError("succeed is True, but the episode goes on")
        super().check()
        for key, array in self.observations.items():
            if array.ndim == 4 and array.shape[-1] == 3 and not is_image(array):
                raise ValueError(f"observations[{key!r}] are {array.dtype} images, expected uint8")

    def to_bytes(self, compress: bool = True) -> bytes:
        """Packs the chunk, see `from_bytes`.

        Args:
            compress: Pack the images without loss. Without it, they are sent as they are.

        Raises:
            ValueError: The chunk is not consistent, see `check`, or larger than what a learner
                takes.
            TypeError: An observation has a dtype that cannot be sent, e.g. longdouble.
        """
        self.check()
        body = encode(self._message(compress))
        size = max(len(body), sum(array.nbytes for array in self.observations.values()))
        if size > _LIMITS.max_bytes:
            raise ValueError(
                f"{self.num_steps} steps are {size} bytes, more than the {_LIMITS.max_bytes} that "
                "a chunk may have. Put fewer steps into a chunk."
            )
        return body

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = _LIMITS) -> Chunk:
        """Unpacks what `to_bytes` has packed, and checks all of it.

        Args:
            data: The chunk as it was received; nothing in it is trusted.
            limits: What to refuse. `max_bytes` also bounds the images as they are when unpacked.

        Raises:
            MessageError: The bytes are anything else. No other exception leaves this function.
        """
        message = decode(data, limits)
        if not isinstance(message, dict) or message.keys() != _WIRE_TYPES.keys():
            raise MessageError(f"a chunk has other fields: {short(message)}")
        for name, expected in _WIRE_TYPES.items():
            # `type` and not `isinstance`, for which True is an int.
            if type(message[name]) is not expected:
                raise MessageError(
                    f"{name} is {short(message[name])}, expected {expected.__name__}"
                )
        if message.pop("version") != _VERSION:
            raise MessageError(f"a chunk of another version, expected {_VERSION}")
        try:
            observations = _unpacked(message.pop("observations"), limits.max_bytes)
            chunk = cls(observations=observations, **message)
            chunk.check()
        except ValueError as error:
            raise MessageError(f"a chunk that cannot be used: {error}") from error
        return chunk

    def _message(self, compress: bool) -> dict[str, Any]:
        observations: dict[str, Any] = {}
        for key, array in self.observations.items():
            if compress and is_image(array):
                packed = compress_images(array)
                observations[key] = {"shape": list(array.shape), "zstd": packed}
            else:
                observations[key] = array
        # An environment may return numpy's numbers and bools in place of Python's.
        return {
            "version": _VERSION,
            "stream": self.stream,
            "sequence": int(self.sequence),
            "episode": int(self.episode),
            "first_step": int(self.first_step),
            "observations": observations,
            "actions": self.actions,
            "rewards": self.rewards,
            "is_intervention": self.is_intervention,
            "terminated": bool(self.terminated),
            "truncated": bool(self.truncated),
            "succeed": bool(self.succeed),
            "fps": float(self.fps),
            "task": self.task,
        }


def check_stream(stream: str) -> None:
    """Refuses what is no id of a recording.

    Raises:
        ValueError: It has other characters, or too many or none.
    """
    if not STREAM.fullmatch(stream):
        raise ValueError(
            f"stream is {short(stream)}, expected 1 to 64 characters of A-Z, a-z, 0-9, _ and -"
        )


def check_index(name: str, value: int) -> None:
    """Refuses what is no index from 0.

    Raises:
        ValueError: It is negative or has more than 63 bits.
    """
    if not 0 <= value <= _LARGEST:
        raise ValueError(f"{name} is {value}, expected an index from 0")


def _unpacked(observations: dict[Any, Any], max_bytes: int) -> dict[str, np.ndarray]:
    """The observations, once it is known that all of them together are not too large.

    Raises:
        ValueError: They are too large, or one of them is neither an array nor packed images.
    """
    shapes: dict[str, tuple[int, int, int]] = {}
    size = 0
    for key, value in observations.items():
        if not isinstance(key, str):
            raise ValueError(f"the observation {short(key)}, expected a name")
        if isinstance(value, np.ndarray):
            size += value.nbytes
        else:
            shapes[key] = _declared_shape(key, value)
            size += len(value["zstd"]) * math.prod(shapes[key])
    if size > max_bytes:
        raise ValueError(f"observations of {size} bytes, at most {max_bytes} are taken")
    return {
        key: decompress_images(value["zstd"], shapes[key]) if key in shapes else value
        for key, value in observations.items()
    }


def _declared_shape(key: str, value: Any) -> tuple[int, int, int]:
    """The shape of each of some packed images, before anything is unpacked."""
    if not isinstance(value, dict) or value.keys() != _PACKED_KEYS:
        raise ValueError(f"observations[{short(key)}] is neither an array nor packed images")
    shape, packed = value["shape"], value["zstd"]
    if (
        not isinstance(shape, list)
        or len(shape) != 4
        or any(type(length) is not int or length < 1 for length in shape)
        or shape[-1] != 3
    ):
        raise ValueError(
            f"images of shape {short(shape)}, expected (T + 1, height, width, 3) from 1"
        )
    if not isinstance(packed, list) or any(type(data) is not bytes for data in packed):
        raise ValueError(f"packed images are {short(packed)}, expected a list of bytes")
    if len(packed) != shape[0]:
        raise ValueError(f"{len(packed)} packed images, expected {shape[0]}")
    return shape[1], shape[2], shape[3]
