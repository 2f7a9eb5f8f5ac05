"""Who judges success in an environment: a trained classifier, as the settings name it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium


@dataclass(frozen=True)
class Judge:
    """A classifier that gives reward and success; see ``ClassifierReward``.

    Raises:
        ValueError: The path is empty.
    """

    #: Folder of a classifier that `e2hil classifier train` wrote.
    path: str
    #: Frames that must show success.
    agree: int = 2
    #: Out of how many of the last.
    window: int = 3
    #: From which probability on a frame shows success; None takes the classifier's own.
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("success_classifier.path is empty: name a classifier's folder")
        # Absolute, because Tune's processes run elsewhere.
        object.__setattr__(self, "path", str(Path(self.path).expanduser().resolve()))

    def wrap(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """The environment with the classifier's reward.

        Raises:
            ClassifierError: The classifier cannot be loaded, or looks through other cameras.
        """
        from e2hil_rllib.classifier.reward import ClassifierReward
        from e2hil_rllib.classifier.success_classifier import SuccessClassifier

        classifier = SuccessClassifier.load(self.path)
        return ClassifierReward(env, classifier, self.agree, self.window, self.threshold)
