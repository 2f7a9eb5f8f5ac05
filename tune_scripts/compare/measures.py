"""Measures of a finished run, read from its run folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from e2hil_rllib.data.episodes import DamagedEpisodeError, episode_files
from e2hil_rllib.disk.parquet_columns import HUMAN, SUCCESS, UNREADABLE, step_column
from e2hil_rllib.errors import UserError
from e2hil_rllib.report.comparison.method_curves import evaluated_series
from e2hil_rllib.run.evaluation_log import first_lasting, read_evaluations, summarize
from e2hil_rllib.run.progress import STEP, Row, read_rows
from e2hil_rllib.run.run_folder import RunFolder

SUCCESS_GOAL = 0.9
"""Success rate without a human that counts as learned."""
GOAL_WINDOW = 20
"""Number of finished episodes that the rate is taken over."""

HUMAN_STEPS, TAKEOVERS = "num_human_steps_lifetime", "num_takeovers_lifetime"


class MeasureError(UserError):
    """A run folder without the data of a measure."""


@dataclass(frozen=True)
class Measures:
    """Measures of a run; see ``tune_scripts.compare.results.ResultRow``."""

    steps: int
    success_rate: float | None
    success_low: float | None
    success_high: float | None
    human_steps: int
    human_steps_to_90: int | None
    intervention_rate: float
    episodes: int
    updates: int
    wall_seconds: float
    evaluation_episodes: int
    takeovers: int | None
    human_steps_to_lasting_90: int | None
    takeovers_to_lasting_90: int | None
    fell_back: float | None
    evaluations: int


def measure(run: RunFolder) -> Measures:
    """Measure a finished run.

    Raises:
        MeasureError: There is no row of progress, or no evaluation at its last step.
        DamagedEpisodeError: An episode cannot be read.
    """
    rows = read_rows(run.progress) if run.progress.exists() else []
    if not rows:
        raise MeasureError(f"{run.progress} has no row. Train in {run.root} first.")
    last = rows[-1]
    steps, human = int(last[STEP]), int(last[HUMAN_STEPS])
    evaluations = read_evaluations(run.evaluation)
    final = [episode for episode in evaluations if episode.step == steps]
    if not final:
        raise MeasureError(
            f"{run.evaluation} has no episode at step {steps}. Train in {run.root} to its end."
        )
    summary = summarize(final)["all"]
    known = all(episode.success is not None for episode in final)
    low, high = summary.interval if known else (None, None)
    evaluated, rates = (column.tolist() for column in evaluated_series(evaluations))
    held = first_lasting(rates, SUCCESS_GOAL)
    then = row_at(rows, evaluated[held]) if held is not None else None
    worst = min(rates[held:]) if held is not None else None
    return Measures(
        steps=steps,
        success_rate=summary.success_rate if known else None,
        success_low=low,
        success_high=high,
        human_steps=human,
        human_steps_to_90=human_steps_to_goal(training_episodes(run)),
        intervention_rate=human / steps,
        episodes=len(episode_files(run.episodes)) if run.episodes.is_dir() else 0,
        updates=int(last["num_updates_lifetime"]),
        wall_seconds=sum(row.get("time_this_iter_s", 0.0) for row in rows),
        evaluation_episodes=summary.episodes,
        takeovers=_count(last, TAKEOVERS),
        human_steps_to_lasting_90=_count(then, HUMAN_STEPS),
        takeovers_to_lasting_90=_count(then, TAKEOVERS),
        fell_back=worst if worst is not None and worst < SUCCESS_GOAL else None,
        evaluations=len(rates),
    )


def row_at(rows: Sequence[Row], step: float) -> Row:
    """Return the last row up to a step; before the first one, all counts are 0."""
    untrained: Row = dict.fromkeys((HUMAN_STEPS, TAKEOVERS), 0.0)
    return next((row for row in reversed(rows) if row[STEP] <= step), untrained)


def _count(row: Row | None, name: str) -> int | None:
    return None if row is None or name not in row else int(row[name])


def human_steps_to_goal(
    episodes: Iterable[tuple[int, bool]], goal: float = SUCCESS_GOAL, window: int = GOAL_WINDOW
) -> int | None:
    """Return the human steps until the policy first succeeded alone often enough.

    Args:
        episodes: Human steps and success of each finished episode, in order.
        goal: Share of the last ``window`` episodes that succeed without a human step.
        window: Number of episodes that the share is taken over, and that have to end before.

    Returns:
        Human steps up to the end of the episode that reaches the goal; None if none does.
    """
    alone: deque[bool] = deque(maxlen=window)
    human_steps = 0
    for human, success in episodes:
        human_steps += human
        alone.append(success and human == 0)
        if len(alone) == window and sum(alone) >= goal * window:
            return human_steps
    return None


def training_episodes(run: RunFolder) -> Iterator[tuple[int, bool]]:
    """Yield human steps and success of each episode of the log, in order.

    Raises:
        DamagedEpisodeError: A file cannot be read.
    """
    for path in episode_files(run.episodes) if run.episodes.is_dir() else []:
        try:
            # Frames are not read.
            table = pq.read_table(path, columns=[HUMAN, SUCCESS], use_threads=False)
            human, success = (
                step_column(table, name).to_numpy(zero_copy_only=False).astype(np.bool_)
                for name in (HUMAN, SUCCESS)
            )
        except UNREADABLE as error:
            raise DamagedEpisodeError(path, str(error).rstrip(".")) from error
        yield int(human.sum()), bool(success[-1])
