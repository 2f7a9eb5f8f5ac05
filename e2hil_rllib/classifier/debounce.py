"""One frame may deceive: success only when several of the last frames agree."""

from __future__ import annotations

from collections import deque

import numpy as np

from e2hil_rllib.classifier.metrics import Proportion


class Debounce:
    """Says success when `agree` of the last `window` frames say so.

    Args:
        agree: How many must agree.
        window: Out of how many.

    Raises:
        ValueError: Not 1 <= agree <= window.
    """

    def __init__(self, agree: int, window: int) -> None:
        for name, value in (("agree", agree), ("window", window)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}, expected a whole number from 1")
        if agree > window:
            raise ValueError(
                f"agree is {agree} and window {window}: of the last {window} frames no {agree} can "
                "agree. Give a window of at least as many"
            )
        self.agree = agree
        self._frames: deque[bool] = deque(maxlen=window)

    def clear(self) -> None:
        """Forgets all frames, as a new episode needs it."""
        self._frames.clear()

    def add(self, success: bool) -> bool:
        """Takes what the newest frame says, and says whether enough agree."""
        self._frames.append(bool(success))
        return sum(self._frames) >= self.agree


def first_success(success: np.ndarray, agree: int, window: int) -> int | None:
    """The first frame of an episode at which enough agree; never the one of the reset, 0."""
    debounce = Debounce(agree, window)
    for frame, says in enumerate(success):
        if debounce.add(bool(says)) and frame > 0:
            return frame
    return None


def episode_figures(
    predicted: list[np.ndarray], success: list[np.ndarray], agree: int, window: int
) -> dict[str, Proportion]:
    """What an agent would have met: successes found, and episodes ended without one.

    Args:
        predicted: For each episode, whether each frame is taken for a success.
        success: For each episode, the truth of each frame.
        agree: See `Debounce`.
        window: See `Debounce`.

    Returns:
        ``found``: of the episodes with success, those ended at the first one or later.
        ``false_end``: of all episodes, those ended before the task was ever solved.
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
