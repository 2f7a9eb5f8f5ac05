"""Success at equal human cost: each method where it has used as much of a person as the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from e2hil_rllib.report.method_table import BASELINE
from e2hil_rllib.report.statistics import (
    interquartile_mean_estimate,
    probability_of_improvement,
)
from e2hil_rllib.report.trials import Comparison, Trial
from tune_scripts.equal_cost import Point, mean_success, success_at
from tune_scripts.published_curves import EVALUATED

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


def equal_cost(comparison: Comparison, points: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """A row for each task, cost and method; none of a task without the baseline.

    ``success`` is the interquartile mean over seeds of success(h) at that cost, ``mean_success``
    that of its mean up to there, see `tune_scripts.equal_cost`, ``more_than_baseline`` the chance
    that a seed's mean is higher than one of the baseline's (Mann-Whitney).

    Args:
        comparison: The trials.
        points: Their curves, as `tune_scripts.published_curves.curves` gives them.
    """
    rows = []
    for task in comparison.tasks:
        if not (baseline := comparison.of(task, BASELINE)):
            continue
        usual = median(trial.human_steps for trial in baseline)
        for share in SHARES:
            cost = math.ceil(share * usual)
            means = {
                method: np.array([mean_success(_of(t, points), cost) for t in trials])
                for method in comparison.methods
                if (trials := comparison.of(task, method))
            }
            for method, values in means.items():
                at = [success_at(_of(t, points), cost) for t in comparison.of(task, method)]
                rows.append(_row(task, method, cost, np.array(at), values, means[BASELINE]))
    return rows


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
