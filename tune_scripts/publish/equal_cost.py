"""Success at equal human cost: each method where it has used as much of a person as the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from e2hil_rllib.report.comparison.method_table import BASELINE
from e2hil_rllib.report.comparison.statistics import (
    interquartile_mean_estimate,
    probability_of_improvement,
)
from e2hil_rllib.report.comparison.trials import Comparison, Trial
from tune_scripts.compare.equal_cost import Point, mean_success, success_at
from tune_scripts.publish.curves import EVALUATED

SHARES = (0.5, 1.0)
"""Human steps at which methods are compared, as shares of what the baseline's median trial used."""

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


def equal_cost(
    comparison: Comparison, points: Sequence[Mapping[str, str]], notes: list[str]
) -> list[dict[str, str]]:
    """A row for each task, cost and method; none of a task without the baseline.

    There is none at a cost by which a trial had not been evaluated yet, since its success there is
    not known; `e2hil eval --all` evaluates the checkpoints of a trial, the first one among them.

    ``success`` is the interquartile mean over seeds of success(h) at that cost, ``mean_success``
    that of its mean up to there, see `compare.equal_cost`, ``more_than_baseline`` the chance
    that a seed's mean is higher than one of the baseline's (Mann-Whitney).

    Args:
        comparison: The trials.
        points: Their curves, as `tune_scripts.publish.curves.curves` gives them; a trial that
            has none is left out.
        notes: Gets a line for each task and cost that is left out.
    """
    rows = []
    for task in comparison.tasks:
        evaluated = {
            method: known
            for method in comparison.methods
            if (known := [found for t in comparison.of(task, method) if (found := _of(t, points))])
        }
        if BASELINE not in evaluated:
            continue
        usual = median(trial.human_steps for trial in comparison.of(task, BASELINE))
        for cost in (math.ceil(share * usual) for share in SHARES):
            late = [found for known in evaluated.values() for found in known if found[0][0] > cost]
            if late:
                notes.append(
                    f"{task}: no success at {cost} human steps, which {len(late)} trials had spent "
                    f"before their first evaluation (e2hil eval --all adds evaluations)."
                )
                continue
            rows += _at(task, cost, evaluated)
    return rows


def _at(
    task: str, cost: int, evaluated: Mapping[str, Sequence[Sequence[Point]]]
) -> list[dict[str, str]]:
    """The rows of a cost; of each method, the evaluations of its trials."""
    means = {
        method: np.array([mean_success(found, cost) for found in known])
        for method, known in evaluated.items()
    }
    return [
        _row(
            task, method, cost, np.array([success_at(found, cost) for found in known]),
            means[method], means[BASELINE],
        )
        for method, known in evaluated.items()
    ]  # fmt: skip


def _of(trial: Trial, points: Sequence[Mapping[str, str]]) -> list[Point]:
    """The evaluations of a trial."""
    own = (trial.task, trial.method, str(trial.seed))
    return [
        (float(point["human_steps"]), float(point[EVALUATED]))
        for point in points
        if (point["task"], point["method"], point["seed"]) == own
        and point[EVALUATED]
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
    texts = ["" if math.isnan(value) else f"{value:.6g}" for value in found]
    cells = (task, method, str(len(means)), str(cost), *texts)
    return dict(zip(EQUAL_COST_COLUMNS, cells, strict=True))
