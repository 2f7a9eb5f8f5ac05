"""What a doctor finds: how bad it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    FAULT = "fault"


Found = tuple[Level, str, str]
"""Level, what was found, and the next step."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        where: the motor, camera, port or file.
        level: whether it is as it should be.
        what: was found.
        step: what to do next, where something is to be done.
    """

    where: str
    level: Level
    what: str
    step: str = ""
