"""How well a classifier tells success from failure, with how sure the figures are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from e2hil_rllib.data.outcomes import wilson_interval

_LEAST_THRESHOLD = 0.5


@dataclass(frozen=True)
class Proportion:
    """A count out of a total."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share, (0, 1) of nothing.

        It takes the trials as independent. Frames of an episode are not, so that for frames the
        true interval is wider.
        """
        if not self.total:
            return 0.0, 1.0
        low, high = wilson_interval(self.value, self.total)
        return max(0.0, low), min(1.0, high)

    def as_dict(self) -> dict[str, float | int | None]:
        """What the classifier's file holds; the share of nothing is null."""
        low, high = self.interval
        share = self.value if self.total else None
        return {"share": share, "count": self.count, "total": self.total, "low": low, "high": high}

    def __str__(self) -> str:
        low, high = self.interval
        share = f"{100 * self.value:.1f} %" if self.total else "–"
        return f"{share} ({self.count} of {self.total}; {100 * low:.1f} to {100 * high:.1f} %)"


def as_dicts(figures: Mapping[str, Proportion]) -> dict[str, Any]:
    """Proportions by name as plain values."""
    return {name: figure.as_dict() for name, figure in figures.items()}


def threshold_at(probability: np.ndarray, success: np.ndarray, false_positive_rate: float) -> float:
    """The lowest threshold, but at least one half, that few enough failures reach.

    Args:
        probability: Of success, shape (N,).
        success: The truth, bool, shape (N,).
        false_positive_rate: The largest share of the failures that may reach the threshold, 0 to
            less than 1.

    Returns:
        A frame counts as success if its probability is this or more. Between the scores that are
        just in and just out it lies halfway.
    """
    failures = np.sort(probability[~success])[::-1]
    allowed = math.floor(false_positive_rate * len(failures))
    highest_out = failures[allowed]
    above = probability[probability > highest_out]
    lowest_in = above.min() if above.size else np.nextafter(max(1.0, highest_out), np.inf)
    between = (highest_out + lowest_in) / 2
    # Two neighbouring floats have none between them.
    return max(_LEAST_THRESHOLD, float(between if between > highest_out else lowest_in))


def frame_figures(
    probability: np.ndarray, success: np.ndarray, threshold: float
) -> dict[str, Proportion]:
    """Recall, precision and rate of false positives over single frames.

    Args:
        probability: Of success, shape (N,).
        success: The truth, bool, shape (N,).
        threshold: From where on a frame counts as success.
    """
    positive = probability >= threshold
    hits = int((positive & success).sum())
    return {
        "recall": Proportion(hits, int(success.sum())),
        "precision": Proportion(hits, int(positive.sum())),
        "false_positive_rate": Proportion(int((positive & ~success).sum()), int((~success).sum())),
    }


def precision_recall(probability: np.ndarray, success: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at each threshold, from the highest down; each of shape (distinct,)."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(success[order])
    last_of_tie = np.append(np.diff(probability[order]) != 0, True)
    number = np.arange(1, len(order) + 1)[last_of_tie]
    return hits[last_of_tie] / number, hits[last_of_tie] / max(1, int(success.sum()))


def average_precision(probability: np.ndarray, success: np.ndarray) -> float:
    """The mean precision over the recall: 1 if every success outranks every failure."""
    precision, recall = precision_recall(probability, success)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
