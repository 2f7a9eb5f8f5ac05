"""How methods look in the figures of a comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from e2hil_rllib.report.style import BLUE, GREEN, GREY, ORANGE
from e2hil_rllib.report.trials import METHODS


@dataclass(frozen=True)
class Look:
    """Colour, dashes and marker of a method, each of them enough to tell it from the others."""

    colour: str
    dashes: str | tuple[int, tuple[float, ...]]
    marker: str


# Okabe and Ito's palette without its yellow, which is too pale for lines.
_KNOWN = dict(
    zip(
        METHODS,
        (
            Look(BLUE, "-", "o"),
            Look(ORANGE, (0, (5, 1.5)), "s"),
            Look(GREY, (0, (1.2, 1.2)), "^"),
            Look(GREEN, (0, (6, 1.5, 1.2, 1.5)), "D"),
            Look("#CC79A7", (0, (3, 1)), "v"),
            Look("#56B4E9", (0, (8, 2)), "P"),
            Look("#D55E00", (0, (4, 1, 1, 1, 1, 1)), "X"),
        ),
        strict=True,
    )
)
_OTHERS = tuple(
    Look("#000000", dashes, marker)
    for dashes, marker in zip(("-", "--", ":", "-."), "hp*<", strict=True)
)


def looks_of(methods: Iterable[str]) -> dict[str, Look]:
    """A look for each method, the same in every comparison for those of `trials.METHODS`."""
    given = list(methods)
    others = [method for method in given if method not in _KNOWN]
    spare = {name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(others)}
    return {name: _KNOWN.get(name) or spare[name] for name in given}
