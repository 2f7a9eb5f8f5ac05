"""The curves of a comparison's trials, thin enough to be committed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from e2hil_rllib.report.comparison.method_curves import evaluated_series
from e2hil_rllib.report.comparison.trials import Trial
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode, read_evaluations
from e2hil_rllib.run.progress import STEP, Row, read_rows

EVERY = 500
"""Steps of the environment between two rows of a trial, evaluations apart."""

#: What is taken of `progress.csv`, by the name it has in the curves.
_TRAINED = {
    "human_steps": "num_human_steps_lifetime",
    "takeovers": "num_takeovers_lifetime",
    "training_success_alone": "env_runners/autonomous_success_rate",
    "policy_entropy": "learners/default_policy/policy_entropy",
    "temperature": "learners/default_policy/temperature",
}
_ACTOR_LOSS = "learners/default_policy/actor_loss"
_UNTRAINED = {_TRAINED["human_steps"]: 0.0, _TRAINED["takeovers"]: 0.0}
EVALUATED = "evaluation_success"
POLICY_Q = "policy_q"
CURVE_COLUMNS = ("task", "method", "seed", "step", EVALUATED, *_TRAINED, POLICY_Q)


def curves(trials: Iterable[Trial], notes: list[str]) -> list[dict[str, str]]:
    """The rows of all trials, of the columns `CURVE_COLUMNS`.

    Args:
        trials: In the order of the rows.
        notes: Gets a line for each trial whose log cannot be read; it has no rows.
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
    """A trial at each of its evaluations, and at the first row of each 500 steps.

    Args:
        rows: Of `progress.csv`.
        evaluations: Of `evaluation.csv`.

    Returns:
        Texts by column, in the order of steps; a cell is empty where nothing is known.
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
        values = {EVALUATED: success.get(step)} | {k: row.get(v) for k, v in _TRAINED.items()}
        values[POLICY_Q] = policy_q(row)
        points.append({"step": f"{step:.0f}"} | _texts(values))
    return points


def policy_q(row: Row) -> float | None:
    """Mean of min_j Q_j at the policy's actions in an iteration: the actor's loss is α log π − Q.

    Loss and entropy are means over minibatches; with the selection on, the loss is one over the
    samples that are kept.

    Args:
        row: Of `progress.csv`.

    Returns:
        None where the actor was not updated.
    """
    names = (_ACTOR_LOSS, _TRAINED["temperature"], _TRAINED["policy_entropy"])
    loss, temperature, entropy = (row.get(name) for name in names)
    if loss is None or temperature is None or entropy is None:
        return None
    return -loss - temperature * entropy


def _texts(values: Mapping[str, float | None]) -> dict[str, str]:
    return {
        name: "" if value is None or not math.isfinite(value) else f"{value:.6g}"
        for name, value in values.items()
    }
