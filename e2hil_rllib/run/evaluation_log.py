"""Evaluated episodes on disk, one row each, and what they come to."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2hil_rllib.data.outcomes import wilson_interval
from e2hil_rllib.disk.files import swapped_in

_COLUMNS = ("step", "seed", "success", "steps", "return", "start", "task_succeed")

LASTING_EVALUATIONS = 3
"""Success holds once so many consecutive evaluations have reached a goal."""


@dataclass(frozen=True)
class EvaluatedEpisode:
    """One deterministic episode without a human.

    Attributes:
        step: Steps of training behind the policy.
        seed: Seed of the episode.
        success: Whether the task was solved; None where the environment does not say.
        steps: Length of the episode.
        episode_return: Sum of its rewards.
        start: Which of the task's start variants it was (`info["start"]` of the reset), "" where
            the environment names none.
        task_succeed: Whether the simulator saw the task done, where a classifier judged success;
            None where nobody else judges, or there is no simulator.
    """

    step: int
    seed: int
    success: bool | None
    steps: int
    episode_return: float
    start: str = ""
    task_succeed: bool | None = None

    @classmethod
    def from_algorithm(cls, step: int, episode: Mapping[str, Any]) -> EvaluatedEpisode:
        """What one entry of `E2HiL.evaluate_episodes` says."""
        return cls(
            step=step,
            seed=int(episode["seed"]),
            success=None if episode["success"] is None else bool(episode["success"]),
            steps=int(episode["steps"]),
            episode_return=float(episode["return"]),
            start=str(episode["info"].get("start", "")),
            task_succeed=episode["task_succeed"],
        )


@dataclass(frozen=True)
class Summary:
    """What episodes come to; success is NaN where the environment does not say."""

    episodes: int
    success_rate: float
    mean_steps: float
    mean_return: float

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval of the success rate at 95 %."""
        return wilson_interval(self.success_rate, self.episodes)

    def in_words(self) -> tuple[str, str, str, str, str]:
        """Success, its interval, episodes, mean steps, mean return: cells of a table."""
        known = math.isfinite(self.success_rate)
        low, high = self.interval
        return (
            f"{100 * self.success_rate:.0f} %" if known else "-",
            f"{100 * low:.0f} to {100 * high:.0f} %" if known else "-",
            str(self.episodes),
            f"{self.mean_steps:.1f}",
            f"{self.mean_return:.2f}",
        )


def summarize(episodes: Iterable[EvaluatedEpisode]) -> dict[str, Summary]:
    """Summaries by start variant, under "all" of all of them.

    Raises:
        ValueError: There are no episodes.
    """
    groups: dict[str, list[EvaluatedEpisode]] = {"all": list(episodes)}
    if not groups["all"]:
        raise ValueError("there are no evaluated episodes")
    for episode in groups["all"]:
        if episode.start:
            groups.setdefault(episode.start, []).append(episode)
    ordered = ["all", *sorted(groups.keys() - {"all"})]
    return {name: _summary_of(groups[name]) for name in ordered}


def first_lasting(
    rates: Sequence[float], goal: float, times: int = LASTING_EVALUATIONS
) -> int | None:
    """When success first held: at the first of several consecutive evaluations that reach a goal.

    Args:
        rates: Success of each evaluation, in the order of steps.
        goal: Success rate to reach.
        times: Number of consecutive evaluations that reach it.

    Returns:
        The index of the first one; None if it never held.
    """
    reached = [rate >= goal for rate in rates]
    starts = range(len(reached) - times + 1)
    return next((start for start in starts if all(reached[start : start + times])), None)


def read_evaluations(path: Path) -> list[EvaluatedEpisode]:
    """All rows of an `evaluation.csv`; none where there is no file.

    Raises:
        ValueError: A row is not one of an evaluation; the message names the file and the line.
    """
    if not path.exists():
        return []
    reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    episodes = []
    for row in reader:
        try:
            episodes.append(
                EvaluatedEpisode(
                    step=int(row["step"]),
                    seed=int(row["seed"]),
                    success=_truth(row["success"]),
                    steps=int(row["steps"]),
                    episode_return=float(row["return"]),
                    start=row["start"],
                    task_succeed=_truth(row.get("task_succeed") or ""),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error
    return episodes


def write_evaluations(path: Path, episodes: Iterable[EvaluatedEpisode]) -> None:
    """Writes an `evaluation.csv` anew; the old one stays until the new one is whole."""
    with swapped_in(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for e in episodes:
            success, solved = ("" if t is None else int(t) for t in (e.success, e.task_succeed))
            figures = (e.step, e.seed, success, e.steps, repr(e.episode_return), e.start, solved)
            writer.writerow(figures)


def judgement(episodes: Iterable[EvaluatedEpisode]) -> str:
    """How often a success classifier was right, in words; "" where the simulator does not say."""
    judged = [e for e in episodes if e.success is not None and e.task_succeed is not None]
    if not judged:
        return ""
    false = sum(bool(e.success and not e.task_succeed) for e in judged)
    missed = sum(bool(e.task_succeed and not e.success) for e in judged)
    return (
        f"The success classifier was right in {len(judged) - false - missed} of {len(judged)} "
        f"episodes: {false} successes were none, {missed} were missed."
    )


def _truth(cell: str) -> bool | None:
    return bool(int(cell)) if cell else None


def _summary_of(episodes: list[EvaluatedEpisode]) -> Summary:
    known = all(episode.success is not None for episode in episodes)
    return Summary(
        episodes=len(episodes),
        success_rate=sum(bool(e.success) for e in episodes) / len(episodes) if known else math.nan,
        mean_steps=sum(episode.steps for episode in episodes) / len(episodes),
        mean_return=sum(episode.episode_return for episode in episodes) / len(episodes),
    )
