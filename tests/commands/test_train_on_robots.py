"""The course of a run whose steps come from robots, with a stand-in for the algorithm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from e2hil_rllib.commands import train as module
from e2hil_rllib.run.progress import STEP, read_rows
from tests.commands.test_train import Counter, Workshop


class Robots:
    """Robots that still send 30 steps when they are told that training has ended."""

    def __init__(self) -> None:
        self.stopped = False
        self.told: list[dict[str, Any]] = []

    def tell(self, status: dict[str, Any]) -> None:
        self.told.append(status)

    def in_words(self) -> str:
        return "1 robot"


class Learner(Counter):
    """Gets 100 steps in every second iteration, none in the others.

    Attributes:
        iterations: So far.
        stop_after: The person at the robot stops it in this iteration.
    """

    def __init__(self, stop_after: int = 1000) -> None:
        super().__init__()
        self.robots = Robots()
        self.robot_training = self
        self.stop_after = stop_after
        self.iterations = self.asked = 0

    def train(self) -> dict[str, Any]:
        self.iterations += 1
        self.robots.stopped = self.iterations >= self.stop_after
        if self.iterations % 2 or self.asked:
            self.step -= 100
        return super().train()

    def drain(self) -> bool:
        self.asked += 1
        self.step += 10
        return self.asked == 3


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    return Workshop(tmp_path, monkeypatch)


def started(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, learner: Learner) -> Learner:
    monkeypatch.setattr(module, "build", lambda settings, run: learner)
    return learner


def test_robots_are_told_of_the_end_and_their_last_steps_are_saved(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = started(workshop, monkeypatch, Learner())
    assert workshop.train(external={}, stop={"steps": 300})
    assert learner.robots.told == [{"done": True}] and learner.asked == 3
    # An iteration without a step is no row: a robot may be paused for an hour.
    assert workshop.rows == [100, 200, 300, 330]
    assert workshop.saved[-1] == "0330"
    assert not workshop.run.evaluation.exists() and "e2hil eval run" in workshop.said


def test_the_person_at_the_robot_stops_the_learner_which_saves_and_says_how_to_go_on(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = started(workshop, monkeypatch, Learner(stop_after=4))
    assert not workshop.train(external={}, stop={"steps": 9000})
    assert learner.robots.told == [], "the robots have ended by themselves"
    assert workshop.saved[-1] == "0230" and "--resume" in workshop.said
    assert [row[STEP] for row in read_rows(workshop.run.progress)] == [100, 200, 230]


def test_checkpoints_also_go_by_time(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    started(workshop, monkeypatch, Learner())
    moments = iter(range(0, 100_000, 61))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(moments)))
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    saved: list[str] = []
    save = Counter.save_to_path
    monkeypatch.setattr(
        Learner,
        "save_to_path",
        lambda self, path: (saved.append(f"{self.step}"), save(self, path)),
    )
    every = {"every_steps": 10_000, "every_minutes": 1.0, "keep": 9}
    workshop.train(external={}, stop={"steps": 300}, checkpoint=every)
    assert saved[:4] == ["0", "100", "200", "300"], "each iteration lasts longer than a minute"
