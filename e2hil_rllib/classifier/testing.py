"""What a classifier does on episodes that it never saw, in figures and in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from e2hil_rllib.classifier.dataset import LabelledEpisode
from e2hil_rllib.classifier.debounce import episode_figures
from e2hil_rllib.classifier.figures import draw_mistakes, draw_scores, worst_frames
from e2hil_rllib.classifier.metrics import as_dicts, average_precision, frame_figures

#: Debouncing under which the figures of whole episodes are reported: without, and by default.
DEBOUNCED = ((1, 1), (2, 3))


class Test:
    """The scores of a test.

    Args:
        episodes: Episodes that nothing was learned or chosen from.
        probability: Of success, of their frames one after the other, shape (N,).
        threshold: From where on a frame counts as success.
    """

    __test__ = False  # for pytest, which collects classes of this name

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
        """Rates over frames and, with and without debouncing, over episodes, as plain values."""
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
        """Draws `scores.png` and `mistakes.png`."""
        draw_scores(self._probability, self._success, self._threshold, folder / "scores.png")
        worst = [
            frame
            for kind in (False, True)
            for frame in worst_frames(self._episodes, self._by_episode, kind)
        ]
        draw_mistakes(worst, self._threshold, folder / "mistakes.png")
