"""A virtual SO101 in a process of its own, and a person at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.at_the_arm import PersonAtTheArm
from tests.station import Station


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    with Station(tmp_path / "arms") as station:
        yield station


@pytest.fixture
def person(station: Station, monkeypatch: pytest.MonkeyPatch) -> Iterator[PersonAtTheArm]:
    person = PersonAtTheArm(station, monkeypatch)
    yield person
    person.leave()
