"""Spaces as plain values, so that a robot can tell whether a policy is made for its environment."""

from __future__ import annotations

from reprlib import repr as short
from typing import Any

import gymnasium as gym
import numpy as np

from e2hil_rllib.external.protocol.codec import MessageError

_BOUNDS = ("low", "high")


def describe(space: gym.Space[Any]) -> dict[str, Any]:
    """Says what a space is, in values that can be sent.

    Args:
        space: A `Box`, or a `Dict` of them.

    Returns:
        `{"shape": [...], "dtype": "float32", "low": array, "high": array}` of a box, where bounds
        that are the same everywhere are arrays of one entry; `{"entries": {name: ...}}` of a dict.

    Raises:
        TypeError: It is another space.
    """
    if isinstance(space, gym.spaces.Dict):
        return {"entries": {key: describe(part) for key, part in space.spaces.items()}}
    if not isinstance(space, gym.spaces.Box):
        raise TypeError(f"{space} is neither a Box nor a Dict of them")
    bounds = {name: _shortened(getattr(space, name)) for name in _BOUNDS}
    return {"shape": list(space.shape), "dtype": str(space.dtype), **bounds}


def differences(own: gym.Space[Any], told: Any, name: str) -> list[str]:
    """Names what differs between an own space and a described one.

    Args:
        own: As in `describe`.
        told: What was received; nothing in it is trusted.
        name: Of the space, for the texts, e.g. "observations".

    Returns:
        A text for each difference, none where both are the same.

    Raises:
        MessageError: It describes no space.
        TypeError: `own` is neither a Box nor a Dict of them.
    """
    return list(_differences(describe(own), told, name))


def _differences(own: dict[str, Any], told: Any, name: str) -> list[str]:
    if not isinstance(told, dict):
        raise MessageError(f"{name} are described by {short(told)}, expected a map")
    if "entries" in own or "entries" in told:
        return _differing_entries(own, told, name)
    shape, dtype = told.get("shape"), told.get("dtype")
    # Looked at first: an array in the place of one of them cannot be compared with `!=`.
    if not isinstance(shape, list) or any(type(size) is not int for size in shape):
        raise MessageError(f"{name} have the shape {short(shape)}, expected whole numbers")
    if not isinstance(dtype, str):
        raise MessageError(f"{name} have the dtype {short(dtype)}, expected a name")
    texts = [
        f"{name}: {key} {short(own[key])} here, {short(told[key])} at the learner"
        for key in ("shape", "dtype")
        if own[key] != told[key]
    ]
    if texts:
        return texts
    for key in _BOUNDS:
        bound = told.get(key)
        if not isinstance(bound, np.ndarray) or bound.dtype.kind not in "fiub":
            raise MessageError(f"{name} have no bound {key!r} of numbers")
        mine = own[key]
        # Computed on another machine, so that the last digit may differ.
        if bound.shape != mine.shape or not np.allclose(mine, bound, 1e-4, 1e-6):
            texts.append(f"{name}: {key} {_words(mine)} here, {_words(bound)} at the learner")
    return texts


def _differing_entries(own: dict[str, Any], told: dict[str, Any], name: str) -> list[str]:
    mine, theirs = own.get("entries"), told.get("entries")
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        kinds = ["a dict" if isinstance(each, dict) else "a box" for each in (mine, theirs)]
        return [f"{name}: {kinds[0]} here, {kinds[1]} at the learner"]
    texts = [f"{name}: {key!r} is here only" for key in mine if key not in theirs]
    texts += [f"{name}: {short(key)} is at the learner only" for key in theirs if key not in mine]
    for key in mine:
        if key in theirs:
            texts += _differences(mine[key], theirs[key], f"{name}[{key!r}]")
    return texts


def _shortened(bound: np.ndarray) -> np.ndarray:
    flat = bound.ravel()
    return flat[:1].copy() if (flat == flat[:1]).all() else flat.copy()


def _words(bound: np.ndarray) -> str:
    return np.array2string(bound, precision=3, threshold=8, edgeitems=2, separator=", ")
