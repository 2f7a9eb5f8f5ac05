"""Checks of an environment's options, whose errors name the valid values."""

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any


def refuse_unknown(given: Iterable[str], valid: Iterable[str], where: str) -> None:
    """Raise a ``TypeError`` with the nearest valid names if a given name is not valid."""
    names = sorted(valid)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
            raise TypeError(f"{where} has no option {name!r}: {hint}valid options are {names}")


def one_of(name: str, value: object, valid: Iterable[str]) -> str:
    """Return a value that must be one of the valid strings.

    Raises:
        ValueError: If the value is none of them.
    """
    names = list(valid)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} must be one of {names}, got {value!r}")
    return value


def number(name: str, value: Any, low: float, high: float) -> float:
    """Return a value that must be a number in [low, high] as a float.

    Raises:
        ValueError: If the value is no number, not finite or out of the range.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def integer(name: str, value: Any, low: int, high: int) -> int:
    """Return a value that must be an integer in [low, high].

    Raises:
        ValueError: If the value is no integer or out of the range.
    """
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not is_integer or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, got {value!r}")
    return int(value)


def mapping(name: str, value: object) -> Mapping[str, Any]:
    """Return a value that must be a mapping.

    Raises:
        TypeError: If the value is no mapping.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of option names to values, got {value!r}")
    return value
