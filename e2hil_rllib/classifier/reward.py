"""The wrapper that rewards what a success classifier sees."""

from __future__ import annotations

from typing import Any

import gymnasium

from e2hil_rllib.classifier.debounce import Debounce
from e2hil_rllib.classifier.success_classifier import ClassifierError, SuccessClassifier


class ClassifierReward(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Ends an episode with reward 1 when `agree` of the last `window` frames show success.

    The environment inside should give no reward of its own (``reward="external"``). Where it ends
    an episode by itself, as an operator's key does, its reward and its ending stand, whatever the
    classifier says. Every step's `info` holds `success_probability`; the step that ends with
    success has `succeed` true. The frame of a reset counts as one of the last frames, but no
    episode succeeds at its reset.

    Args:
        env: An environment with the classifier's cameras.
        classifier: What judges.
        agree: Frames that must show success.
        window: Out of how many of the last.
        threshold: From which probability on a frame shows success; None takes the classifier's.

    Raises:
        ClassifierError: The environment has other cameras or frames, or a number is out of its
            range.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        classifier: SuccessClassifier,
        agree: int = 2,
        window: int = 3,
        threshold: float | None = None,
    ) -> None:
        super().__init__(env)
        classifier.check_space(env.observation_space)
        try:
            self._debounce = Debounce(agree, window)
        except ValueError as error:
            raise ClassifierError(f"success classifier: {error}.") from error
        if threshold is not None and not 0 < threshold < 1:
            raise ClassifierError(
                f"success classifier: threshold is {threshold!r}, expected a number between 0 and "
                "1, or none for the one that training chose."
            )
        self._classifier = classifier
        self._threshold = classifier.threshold if threshold is None else threshold

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; what earlier frames showed is forgotten."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._debounce.clear()
        self._judge(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps, and looks at the frame that followed."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        solved = self._judge(observation, info)
        if solved and not terminated:
            reward, terminated, truncated = 1.0, True, False
            info["succeed"] = True
        return observation, reward, terminated, truncated, info

    def _judge(self, observation: Any, info: dict[str, Any]) -> bool:
        probability = self._classifier.probability(observation)
        info["success_probability"] = probability
        return self._debounce.add(probability >= self._threshold)
