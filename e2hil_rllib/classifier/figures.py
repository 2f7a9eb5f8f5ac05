"""Pictures of a classifier's test: its scores, and the frames that it judges worst."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from e2hil_rllib.classifier.dataset import LabelledEpisode
from e2hil_rllib.classifier.metrics import frame_figures, precision_recall

# Told apart also by those who see no red or green (Okabe and Ito's palette).
_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "#666666"
_STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_PER_KIND = 12  # frames shown of each kind of mistake
_PER_EPISODE = 3  # so that one odd episode does not fill the picture
_COLUMNS = 4


@dataclass(frozen=True)
class JudgedFrame:
    """A frame with what the classifier and what the truth say of it."""

    picture: np.ndarray
    probability: float
    success: bool
    episode: str
    step: int


def worst_frames(
    episodes: list[LabelledEpisode], probability: list[np.ndarray], success: bool
) -> list[JudgedFrame]:
    """Of the frames that show success (or that do not), those that the classifier judges worst.

    Args:
        episodes: The episodes of the test.
        probability: For each, its frames' probabilities.
        success: Of which kind.

    Returns:
        At most a dozen, the worst first, at most three of an episode.
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
    """Draws judged frames in a grid; mistakes have an orange title, mere near misses a grey one.

    Args:
        frames: What to draw, at least one.
        threshold: From where on a frame counts as success.
        path: The PNG to write.
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
    """Draws precision over recall, and how the scores of both kinds of frames are spread.

    Args:
        probability: Of success, shape (N,).
        success: The truth, bool, shape (N,).
        threshold: From where on a frame counts as success.
        path: The PNG to write.
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
    """Frames of several cameras in one picture; lower ones are filled up with white."""
    height = max(frame.shape[0] for frame in frames)
    filled = [
        np.pad(f, ((0, height - f.shape[0]), (0, 0), (0, 0)), constant_values=255) for f in frames
    ]
    return np.concatenate(filled, axis=1)
