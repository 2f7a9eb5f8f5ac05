"""Figures of a classifier's test, with their confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from e2hil_rllib.classifier.judge import Debounce
from e2hil_rllib.data.outcomes import wilson_interval

_LEAST_THRESHOLD = 0.5


@dataclass(frozen=True)
class Proportion:
    """Count out of a total."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """Share; NaN if the total is 0."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson score interval of the share at 95 %; (0, 1) if the total is 0.

        It assumes independent trials. Frames of an episode are not independent, so that the true
        interval of frames is wider.
        """
        if not self.total:
            return 0.0, 1.0
        low, high = wilson_interval(self.value, self.total)
        return max(0.0, low), min(1.0, high)

    def as_dict(self) -> dict[str, float | int | None]:
        """Return plain values for the classifier's file; the share of a total of 0 is null."""
        low, high = self.interval
        share = self.value if self.total else None
        return {"share": share, "count": self.count, "total": self.total, "low": low, "high": high}

    def __str__(self) -> str:
        low, high = self.interval
        share = f"{100 * self.value:.1f} %" if self.total else "–"
        return f"{share} ({self.count} of {self.total}; {100 * low:.1f} to {100 * high:.1f} %)"


def as_dicts(figures: Mapping[str, Proportion]) -> dict[str, Any]:
    """Return proportions by name as plain values."""
    return {name: figure.as_dict() for name, figure in figures.items()}


def threshold_at(probability: np.ndarray, success: np.ndarray, false_positive_rate: float) -> float:
    """Return the lowest threshold, but at least one half, that few enough failures reach.

    Args:
        probability: Probability of success, shape (N,).
        success: True labels, bool, shape (N,).
        false_positive_rate: Largest share of the failures that may reach the threshold, 0 to less
            than 1.

    Returns:
        Lowest probability of a frame that counts as success, halfway between the scores that are
        just in and just out.
    """
    failures = np.sort(probability[~success])[::-1]
    allowed = math.floor(false_positive_rate * len(failures))
    highest_out = failures[allowed]
    above = probability[probability > highest_out]
    lowest_in = above.min() if above.size else np.nextafter(max(1.0, highest_out), np.inf)
    between = (highest_out + lowest_in) / 2
    # No float lies between two neighbouring ones.
    return max(_LEAST_THRESHOLD, float(between if between > highest_out else lowest_in))


def frame_figures(
    probability: np.ndarray, success: np.ndarray, threshold: float
) -> dict[str, Proportion]:
    """Return recall, precision and false positive rate over single frames.

    Args:
        probability: Probability of success, shape (N,).
        success: True labels, bool, shape (N,).
        threshold: Lowest probability of a frame that counts as success.
    """
    positive = probability >= threshold
    hits = int((positive & success).sum())
    return {
        "recall": Proportion(hits, int(success.sum())),
        "precision": Proportion(hits, int(positive.sum())),
        "false_positive_rate": Proportion(int((positive & ~success).sum()), int((~success).sum())),
    }


def precision_recall(probability: np.ndarray, success: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall at each threshold, from the highest down, shape (distinct,)."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(success[order])
    last_of_tie = np.append(np.diff(probability[order]) != 0, True)
    number = np.arange(1, len(order) + 1)[last_of_tie]
    return hits[last_of_tie] / number, hits[last_of_tie] / max(1, int(success.sum()))


def average_precision(probability: np.ndarray, success: np.ndarray) -> float:
    """Return the mean precision over the recall: 1 if every success outranks every failure."""
    precision, recall = precision_recall(probability, success)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def first_success(success: np.ndarray, agree: int, window: int) -> int | None:
    """Return the first frame of an episode at which enough agree; never the one of the reset, 0."""
    debounce = Debounce(agree, window)
    for frame, says in enumerate(success):
        if debounce.add(bool(says)) and frame > 0:
            return frame
    return None


def episode_figures(
    predicted: list[np.ndarray], success: list[np.ndarray], agree: int, window: int
) -> dict[str, Proportion]:
    """Return the successes that an agent would have been given, and the false ones.

    Args:
        predicted: Predicted labels of each episode's frames, bool, shapes (frames,).
        success: True labels of each episode's frames, bool, shapes (frames,).
        agree: See ``Debounce``.
        window: See ``Debounce``.

    Returns:
        ``found``: share of the episodes with success that end at the first success or later.
        ``false_end``: share of all episodes that end before the task was ever solved.
    """
    found = false_end = with_success = 0
    for frames, truth in zip(predicted, success, strict=True):
        end = first_success(frames, agree, window)
        solved = int(np.argmax(truth)) if truth.any() else None
        with_success += solved is not None
        if end is not None and (solved is None or end < solved):
            false_end += 1
        found += end is not None and solved is not None and end >= solved
    return {
        "found": Proportion(found, with_success),
        "false_end": Proportion(false_end, len(success)),
    }
