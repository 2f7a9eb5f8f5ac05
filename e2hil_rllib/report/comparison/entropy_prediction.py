"""Figure 5, left, in numbers: does the influence of the samples predict how the entropy changes?

It is asked in two ways. The change that the judged actor updates themselves made tests Eq. 9. The
slope of the entropy over iterations, with which the paper compares, also holds what all the other
updates did, on other samples and other states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from e2hil_rllib.report.comparison.statistics import pearson, spearman
from e2hil_rllib.report.page import Table
from e2hil_rllib.report.run.curves import Columns
from e2hil_rllib.run.progress import STEP

_LEARNER = "learners/default_policy/"
PREDICTED = _LEARNER + "entropy_change"
PREDICTED_LEARNED = _LEARNER + "entropy_change_learned"
MEASURED = _LEARNER + "entropy_change_measured"
ENTROPY = _LEARNER + "policy_entropy"
UPDATES = "num_updates_lifetime"

#: Iterations that a correlation needs.
_FEWEST = 8

QUARTERS = ("1st", "2nd", "3rd", "4th")


@dataclass(frozen=True)
class EntropyChanges:
    """Predicted and measured change of a run's iterations, each of shape (n,).

    Attributes:
        steps: Of the environment, at the end of each iteration.
        predicted: Mean of c over judged minibatches of the iteration: the change of entropy for a
            step of size 1 on the policy's logits (Eq. 9) [nats].
        measured: See the `Measure`.
        quarter: Of training, 0 to 3.
    """

    steps: np.ndarray
    predicted: np.ndarray
    measured: np.ndarray
    quarter: np.ndarray


@dataclass(frozen=True)
class Measure:
    """What a prediction is set against.

    Attributes:
        name: In tables and titles.
        predicted: The prediction, for an axis.
        measured: What it is set against, for an axis.
        changes: Takes both from the columns of a `progress.csv`.
    """

    name: str
    predicted: str
    measured: str
    changes: Callable[[Columns], EntropyChanges | None]


def update_changes(columns: Columns) -> EntropyChanges | None:
    """What the judged actor updates of each iteration were predicted to do, and what they did.

    Predicted is the mean of c over the samples that the actor learned from, measured the change of
    the entropy at the states of the same minibatch, by the same draws [nats per update].

    Returns:
        None where a column is missing, as in runs of earlier versions, or no iteration has both.
    """
    learned = _rows_of_learning(columns, PREDICTED_LEARNED, MEASURED)
    if learned is None:
        return None
    steps, predicted, measured = learned
    return _of_iterations(steps, predicted, measured, columns[STEP][-1])


def slope_changes(columns: Columns) -> EntropyChanges | None:
    """What the judged minibatches predict, and the slope of the entropy around each iteration.

    The slope is taken between the iterations before and after it, whose entropies are means over
    their updates [nats per 1000 updates].

    Returns:
        None where a column is missing, or no iteration has both.
    """
    learned = _rows_of_learning(columns, ENTROPY, UPDATES, PREDICTED)
    if learned is None:
        return None
    table = np.stack(learned)
    steps, entropy, updates, predicted = table[:, np.isfinite(table[1])]
    slope = 1000 * (entropy[2:] - entropy[:-2]) / (updates[2:] - updates[:-2])
    return _of_iterations(steps[1:-1], predicted[1:-1], slope, columns[STEP][-1])


#: The first of them that a run has is drawn.
MEASURES = (
    Measure(
        "same updates",
        "predicted: mean c learned from [nats / unit step]",
        "measured: same updates [nats / update]",
        update_changes,
    ),
    Measure(
        "slope over iterations",
        "predicted: mean c [nats / unit step]",
        "measured: slope [nats / 1000 updates]",
        slope_changes,
    ),
)


def correlations(changes: EntropyChanges) -> list[tuple[float, float]]:
    """Pearson's and the rank correlation, over all of training and over each quarter.

    Both are NaN for fewer than eight iterations, of which any correlation may come by chance.
    """
    parts = [np.ones(len(changes.steps), bool), *(changes.quarter == q for q in range(4))]
    pairs = [(changes.predicted[part], changes.measured[part]) for part in parts]
    nothing = (math.nan, math.nan)
    return [
        (pearson(*pair), spearman(*pair)) if len(pair[0]) >= _FEWEST else nothing for pair in pairs
    ]


def correlation_table(
    found: Mapping[str, Mapping[Measure, Sequence[EntropyChanges]]], task: str
) -> Table:
    """Both correlations, means over seeds: a row for each method and what was measured.

    Args:
        found: By method and measure, the changes of at least one seed.
        task: The task.
    """
    rows = []
    for method, by_measure in found.items():
        for measure, seeds in by_measure.items():
            of_seeds = np.array([correlations(changes) for changes in seeds])
            cells = [in_words(of_seeds[:, part]) for part in range(5)]
            iterations = sum(len(changes.steps) for changes in seeds)
            rows.append((task, method, measure.name, str(len(seeds)), str(iterations), *cells))
    quarters = [f"{name} quarter" for name in QUARTERS]
    head = ("task", "method", "measured", "seeds", "iterations", "Pearson / rank: all", *quarters)
    return head, rows


def in_words(of_seeds: np.ndarray) -> str:
    """Pearson's and the rank correlation, means over the seeds (n, 2) that have them."""
    known = [column[np.isfinite(column)] for column in of_seeds.T]
    if not all(len(column) for column in known):
        return "too few"
    return " / ".join(f"{column.mean():+.2f}" for column in known)


def _rows_of_learning(columns: Columns, *names: str) -> list[np.ndarray] | None:
    """The steps and the columns of a name, without iterations in which nothing was learned.

    Returns:
        None where a column is missing.
    """
    if not {UPDATES, *names} <= columns.keys():
        return None
    known = np.isfinite(columns[STEP]) & np.isfinite(columns[UPDATES])
    learned = np.flatnonzero(known)[np.diff(columns[UPDATES][known], prepend=-1) > 0]
    return [columns[name][learned] for name in (STEP, *names)]


def _of_iterations(
    steps: np.ndarray, predicted: np.ndarray, measured: np.ndarray, end: float
) -> EntropyChanges | None:
    """Of the iterations that have both changes; None if there are none."""
    both = np.isfinite(predicted) & np.isfinite(measured)
    if not both.any():
        return None
    quarter = np.minimum(4 * (steps[both] - 1e-9) // end, 3).astype(int)
    return EntropyChanges(steps[both], predicted[both], measured[both], quarter)
