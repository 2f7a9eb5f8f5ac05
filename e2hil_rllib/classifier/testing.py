"""Test of a classifier on held-out episodes: figures, scores and its worst frames as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from e2hil_rllib.classifier.dataset import LabelledEpisode
from e2hil_rllib.classifier.metrics import (
    as_dicts,
    average_precision,
    episode_figures,
    frame_figures,
    precision_recall,
)

DEBOUNCED = ((1, 1), (2, 3))
"""Debouncing of the reported figures of whole episodes: none, and the default."""

# Okabe and Ito's palette, safe for colour-blind readers.
_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "#666666"
_STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_PER_KIND = 12  # frames shown of each kind of mistake
_PER_EPISODE = 3  # so that one odd episode does not fill the picture
_COLUMNS = 4


class ClassifierTest:
    """Scores of a classifier on held-out episodes.

    Args:
        episodes: Episodes that nothing was learned or chosen from.
        probability: Probability of success of their frames, one after the other, shape (N,).
        threshold: Lowest probability of a frame that counts as success.
    """

    def __init__(
        self, episodes: list[LabelledEpisode], probability: np.ndarray, threshold: float
    ) -> None:
        self._episodes = episodes
        self._probability = probability
        self._success = np.concatenate([episode.success for episode in episodes])
        ends = np.cumsum([len(episode.success) for episode in episodes])[:-1]
        self._by_episode = np.split(probability, ends)
        self._threshold = threshold

    def figures(self) -> dict[str, Any]:
        """Return rates over frames and over episodes, with and without debouncing."""
        truth = [episode.success for episode in self._episodes]
        predicted = [scores >= self._threshold for scores in self._by_episode]
        frames = frame_figures(self._probability, self._success, self._threshold)
        return {
            "frames": as_dicts(frames),
            "average_precision": average_precision(self._probability, self._success),
            "episodes": [
                {"agree": agree, "window": window}
                | as_dicts(episode_figures(predicted, truth, agree, window))
                for agree, window in DEBOUNCED
            ],
        }

    def draw(self, folder: Path) -> None:
        """Draw ``scores.png`` and ``mistakes.png``."""
        draw_scores(self._probability, self._success, self._threshold, folder / "scores.png")
        worst = [
            frame
            for kind in (False, True)
            for frame in worst_frames(self._episodes, self._by_episode, kind)
        ]
        draw_mistakes(worst, self._threshold, folder / "mistakes.png")


@dataclass(frozen=True)
class JudgedFrame:
    """Frame with its probability of success and its true label."""

    picture: np.ndarray
    probability: float
    success: bool
    episode: str
    step: int


def worst_frames(
    episodes: list[LabelledEpisode], probability: list[np.ndarray], success: bool
) -> list[JudgedFrame]:
    """Return the worst judged frames among the successes, or among the failures.

    Args:
        episodes: Episodes of the test.
        probability: Probabilities of each episode's frames, shapes (frames,).
        success: True label of the frames to choose from.

    Returns:
        At most a dozen frames, the worst first, at most three of an episode.
    """
    found = [
        (float(p), index, row)
        for index, (episode, scores) in enumerate(zip(episodes, probability, strict=True))
        for row, p in enumerate(scores)
        if episode.success[row] == success
    ]
    found.sort(key=lambda item: item[0], reverse=not success)
    worst: list[JudgedFrame] = []
    taken: dict[int, int] = {}
    for p, index, row in found:
        if taken.get(index, 0) == _PER_EPISODE:
            continue
        taken[index] = taken.get(index, 0) + 1
        episode = episodes[index]
        picture = _side_by_side([frames[row] for frames in episode.frames.values()])
        path = Path(episode.name)
        name = f"{path.parent.name}/{path.stem}"
        worst.append(JudgedFrame(picture, p, success, name, int(episode.steps[row])))
        if len(worst) == _PER_KIND:
            break
    return worst


def draw_mistakes(frames: list[JudgedFrame], threshold: float, path: Path) -> None:
    """Draw judged frames in a grid; mistakes have an orange title, mere near misses a grey one.

    Args:
        frames: Frames to draw, at least one.
        threshold: Lowest probability of a frame that counts as success.
        path: PNG file to write.
    """
    rows = -(-len(frames) // _COLUMNS)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3.4 * _COLUMNS, 2.1 * rows), dpi=110, layout="constrained")
        grid = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
        for axes in grid:
            axes.set_axis_off()
        for axes, frame in zip(grid, frames, strict=False):
            axes.imshow(frame.picture, interpolation="nearest")
            wrong = (frame.probability >= threshold) != frame.success
            truth = "success" if frame.success else "failure"
            axes.set_title(
                f"{'wrong' if wrong else 'right'}: p = {frame.probability:.2f}, truth {truth}\n"
                f"{frame.episode}, step {frame.step}",
                fontsize=8,
                color=_ORANGE if wrong else _GREY,
            )
        figure.savefig(path, format="png")


def draw_scores(probability: np.ndarray, success: np.ndarray, threshold: float, path: Path) -> None:
    """Draw precision over recall, and the histograms of both labels' scores.

    Args:
        probability: Probability of success, shape (N,).
        success: True labels, bool, shape (N,).
        threshold: Lowest probability of a frame that counts as success.
        path: PNG file to write.
    """
    chosen = frame_figures(probability, success, threshold)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.4), dpi=130, layout="constrained")
        curve, histogram = figure.subplots(1, 2)
        precision, recall = precision_recall(probability, success)
        curve.plot(100 * recall, 100 * precision, color=_BLUE, drawstyle="steps-pre")
        curve.plot(
            100 * chosen["recall"].value, 100 * chosen["precision"].value, "o", color=_ORANGE
        )
        curve.set(
            title="Frames of the test; the dot is the threshold", xlabel="recall [%]",
            ylabel="precision [%]", xlim=(0, 102), ylim=(0, 102),
        )  # fmt: skip
        bins = np.linspace(0, 1, 41)
        histogram.hist(probability[~success], bins, color=_GREY, label="failure")
        histogram.hist(probability[success], bins, color=_BLUE, alpha=0.6, label="success")
        histogram.axvline(threshold, color=_ORANGE, label=f"threshold {threshold:.3f}")
        histogram.set(
            title="Scores by the truth", xlabel="probability of success", ylabel="frames",
            yscale="log",
        )  # fmt: skip
        histogram.legend(frameon=False)
        figure.savefig(path, format="png")


def _side_by_side(frames: list[np.ndarray]) -> np.ndarray:
    """Return frames of several cameras as one picture; lower ones are filled up with white."""
    height = max(frame.shape[0] for frame in frames)
    filled = [
        np.pad(f, ((0, height - f.shape[0]), (0, 0), (0, 0)), constant_values=255) for f in frames
    ]
    return np.concatenate(filled, axis=1)
