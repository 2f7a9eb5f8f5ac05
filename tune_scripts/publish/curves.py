"""Tables of a comparison's course: thin curves of its trials, and success at equal human cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import numpy as np

from e2hil_rllib.report.comparison.method_curves import evaluated_series
from e2hil_rllib.report.comparison.method_table import BASELINE
from e2hil_rllib.report.comparison.statistics import (
    interquartile_mean_estimate,
    probability_of_improvement,
)
from e2hil_rllib.report.comparison.trials import Comparison, Trial
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode, read_evaluations
from e2hil_rllib.run.progress import STEP, Row, read_rows
from tune_scripts.compare.equal_cost import Point, mean_success, success_at

EVERY = 500
"""Environment steps between two rows of a trial, evaluations apart."""

_TRAINED = {
    "human_steps": "num_human_steps_lifetime",
    "takeovers": "num_takeovers_lifetime",
    "training_success_alone": "env_runners/autonomous_success_rate",
    "policy_entropy": "learners/default_policy/policy_entropy",
    "temperature": "learners/default_policy/temperature",
}
"""Columns of the curves, and their names in ``progress.csv``."""

_ACTOR_LOSS = "learners/default_policy/actor_loss"
_UNTRAINED = {_TRAINED["human_steps"]: 0.0, _TRAINED["takeovers"]: 0.0}
_EVALUATED = "evaluation_success"
_POLICY_Q = "policy_q"
CURVE_COLUMNS = ("task", "method", "seed", "step", _EVALUATED, *_TRAINED, _POLICY_Q)

_SHARES = (0.5, 1.0)
"""Human steps to compare methods at, as shares of those that the baseline's median trial used."""

EQUAL_COST_COLUMNS = (
    "task",
    "method",
    "seeds",
    "human_steps",
    "success",
    "mean_success",
    "mean_success_low",
    "mean_success_high",
    "more_than_baseline",
    "more_than_baseline_low",
    "more_than_baseline_high",
)


def curves(trials: Iterable[Trial], notes: list[str]) -> list[dict[str, str]]:
    """Return the rows of all trials, with the columns ``CURVE_COLUMNS``.

    Args:
        trials: Trials in the order of the rows.
        notes: List that gets a line for each trial whose log cannot be read; it has no rows.
    """
    found = []
    for trial in trials:
        try:
            rows = [row for row in read_rows(trial.run.progress) if STEP in row]
            evaluations = read_evaluations(trial.run.evaluation)
        except (FileNotFoundError, ValueError) as error:
            notes.append(f"No curves of {trial.task}, {trial.method}, seed {trial.seed}: {error}")
            continue
        who = {"task": trial.task, "method": trial.method, "seed": str(trial.seed)}
        found += [who | point for point in curve_points(rows, evaluations)]
    return found


def curve_points(
    rows: Sequence[Row], evaluations: Sequence[EvaluatedEpisode]
) -> list[dict[str, str]]:
    """Return the points of a trial: its evaluations, and the first row of each 500 steps.

    Args:
        rows: Rows of ``progress.csv``.
        evaluations: Episodes of ``evaluation.csv``.

    Returns:
        Texts by column, in the order of steps; an unknown cell is empty.
    """
    at = {0.0: _UNTRAINED} | {row[STEP]: row for row in rows}
    success = dict(zip(*(column.tolist() for column in evaluated_series(evaluations)), strict=True))
    regular: dict[int, float] = {}
    for row in rows:
        regular.setdefault(int(row[STEP] // EVERY), row[STEP])
    regular.pop(0, None)  # before the first 500 steps
    points = []
    for step in sorted({*regular.values(), *success}):
        row = at.get(step, {})
        values = {_EVALUATED: success.get(step)} | {k: row.get(v) for k, v in _TRAINED.items()}
        values[_POLICY_Q] = policy_q(row)
        points.append({"step": f"{step:.0f}"} | {k: _cell(value) for k, value in values.items()})
    return points


def policy_q(row: Row) -> float | None:
    """Return the mean of min_j Q_j at the policy's actions: the actor's loss is α log π − Q.

    Loss and entropy are means over minibatches; with the selection on, the loss is one over the
    samples that are kept.

    Args:
        row: Row of ``progress.csv``.

    Returns:
        None where the actor was not updated.
    """
    names = (_ACTOR_LOSS, _TRAINED["temperature"], _TRAINED["policy_entropy"])
    loss, temperature, entropy = (row.get(name) for name in names)
    if loss is None or temperature is None or entropy is None:
        return None
    return -loss - temperature * entropy


def equal_cost(
    comparison: Comparison, points: Sequence[Mapping[str, str]], notes: list[str]
) -> list[dict[str, str]]:
    """Return a row for each task, human cost and method; none of a task without the baseline.

    A cost by which a trial had not been evaluated yet has no rows, since its success there is
    unknown; ``e2hil eval --all`` evaluates the checkpoints of a trial, the first one among them.

    ``success`` is the interquartile mean over seeds of success(h) at that cost, ``mean_success``
    that of its mean up to there, see ``compare.equal_cost``, ``more_than_baseline`` the chance
    that a seed's mean is higher than one of the baseline's (Mann-Whitney).

    Args:
        comparison: Trials to compare.
        points: Curves of the trials, as ``curves`` returns them; a trial without any is left out.
        notes: List that gets a line for each task and cost that is left out.
    """
    rows = []
    for task in comparison.tasks:
        evaluated = {
            method: known
            for method in comparison.methods
            if (known := [p for t in comparison.of(task, method) if (p := _points_of(t, points))])
        }
        if BASELINE not in evaluated:
            continue
        usual = median(trial.human_steps for trial in comparison.of(task, BASELINE))
        for cost in (math.ceil(share * usual) for share in _SHARES):
            late = [found for known in evaluated.values() for found in known if found[0][0] > cost]
            if late:
                notes.append(
                    f"{task}: no success at {cost} human steps, which {len(late)} trials had spent "
                    f"before their first evaluation (e2hil eval --all adds evaluations)."
                )
                continue
            means = {
                method: np.array([mean_success(found, cost) for found in known])
                for method, known in evaluated.items()
            }
            for method, known in evaluated.items():
                at = np.array([success_at(found, cost) for found in known])
                rows.append(_row(task, method, cost, at, means[method], means[BASELINE]))
    return rows


def _points_of(trial: Trial, points: Sequence[Mapping[str, str]]) -> list[Point]:
    """Return the evaluations of a trial."""
    own = (trial.task, trial.method, str(trial.seed))
    return [
        (float(point["human_steps"]), float(point[_EVALUATED]))
        for point in points
        if (point["task"], point["method"], point["seed"]) == own
        and point[_EVALUATED]
        and point["human_steps"]
    ]


def _row(
    task: str, method: str, cost: int, at: np.ndarray, means: np.ndarray, baseline: np.ndarray
) -> dict[str, str]:
    mean = interquartile_mean_estimate([means])
    found = [interquartile_mean_estimate([at]).value, mean.value, mean.low, mean.high]
    if method == BASELINE:
        found += [math.nan] * 3
    else:
        more = probability_of_improvement([means], [baseline])
        found += [more.value, more.low, more.high]
    cells = (task, method, str(len(means)), str(cost), *map(_cell, found))
    return dict(zip(EQUAL_COST_COLUMNS, cells, strict=True))


def _cell(value: float | None) -> str:
    """Return a number as text; empty where it is unknown."""
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"
