"""A policy on its way to robots: plain tensors with a version, and how old they are."""

from __future__ import annotations

from dataclasses import dataclass
from reprlib import repr as short
from typing import Any

import numpy as np

from e2hil_rllib.external.protocol.codec import MessageError


@dataclass(frozen=True, eq=False)
class Weights:
    """The parameters of a policy.

    Attributes:
        version: Grows with each new set of one learner's process.
        updates: Minibatch updates that the learner had done by then.
        age: How long ago they were made, when they were sent [s].
        tensors: Arrays by the parameter's name.
    """

    version: int
    updates: int
    age: float
    tensors: dict[str, np.ndarray]

    def to_message(self) -> dict[str, Any]:
        """What is sent, see `from_message`."""
        return {"type": "WEIGHTS", **vars(self)}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Weights:
        """Takes received weights; nothing in them is trusted.

        Raises:
            MessageError: It is something else, or holds a number that is not finite.
        """
        version, updates = message.get("version"), message.get("updates")
        age, tensors = message.get("age"), message.get("tensors")
        if type(version) is not int or type(updates) is not int:
            raise MessageError(f"weights of version {short(version)}, expected whole numbers")
        if type(age) is not float or not 0 <= age < float("inf"):
            raise MessageError(f"weights of age {short(age)}, expected seconds")
        if not isinstance(tensors, dict) or not tensors:
            raise MessageError(f"weights are {short(tensors)}, expected arrays by name")
        for name, tensor in tensors.items():
            if not isinstance(name, str) or not isinstance(tensor, np.ndarray):
                raise MessageError(f"the weight {short(name)} is no array")
            if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                raise MessageError(f"the weight {short(name)} is not finite")
        return cls(version, updates, age, tensors)
