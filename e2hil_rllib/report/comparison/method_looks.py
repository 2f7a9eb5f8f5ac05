"""How methods look in the figures of a comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from e2hil_rllib.report.style import BLUE, GREEN, GREY, ORANGE


@dataclass(frozen=True)
class Look:
    """Colour, dashes and marker of a method, each of them enough to tell it from the others."""

    colour: str
    dashes: str | tuple[int, tuple[float, ...]]
    marker: str


# Okabe and Ito's palette without its yellow, which is too pale for lines.
_KNOWN = {
    "default": Look("#882255", "-", "*"),
    "e2hil": Look(BLUE, "-", "o"),
    "e2hil_paper": Look("#332288", (0, (9, 1)), "<"),
    "hil_serl": Look(ORANGE, (0, (5, 1.5)), "s"),
    "hil_serl_repaired": Look("#999933", (0, (5, 1, 1, 1)), "h"),
    "bc": Look("#117733", (0, (2, 2)), "p"),
    "random": Look(GREY, (0, (1.2, 1.2)), "^"),
    "upper_only": Look(GREEN, (0, (6, 1.5, 1.2, 1.5)), "D"),
    "lower_only": Look("#CC79A7", (0, (3, 1)), "v"),
    "log_influence": Look("#56B4E9", (0, (8, 2)), "P"),
    "rlpd10": Look("#D55E00", (0, (4, 1, 1, 1, 1, 1)), "X"),
}
_OTHERS = tuple(
    Look("#000000", dashes, marker)
    for dashes, marker in zip(("-", "--", ":", "-."), "d8>1", strict=True)
)


def looks_of(methods: Iterable[str]) -> dict[str, Look]:
    """A look for each method, the same in every comparison for those of `_KNOWN`."""
    given = list(methods)
    others = [method for method in given if method not in _KNOWN]
    spare = {name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(others)}
    return {name: _KNOWN.get(name) or spare[name] for name in given}
