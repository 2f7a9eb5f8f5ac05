"""Judge of success in an environment: a trained classifier over the last few frames."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from e2hil_rllib.classifier.success_classifier import SuccessClassifier


@dataclass(frozen=True)
class Judge:
    """Settings of a classifier that gives reward and success; see ``ClassifierReward``.

    Raises:
        ValueError: The path is empty.
    """

    #: Folder of a classifier that `e2hil classifier train` wrote.
    path: str
    #: Frames that must show success.
    agree: int = 2
    #: Number of last frames that they are counted among.
    window: int = 3
    #: Lowest probability of a frame that shows success; None takes the classifier's own.
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("success_classifier.path is empty: name a classifier's folder")
        # Absolute, because Tune's processes run elsewhere.
        object.__setattr__(self, "path", str(Path(self.path).expanduser().resolve()))

    def wrap(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """Return the environment with the classifier's reward.

        Raises:
            ClassifierError: The classifier cannot be loaded, or expects other cameras.
        """
        from e2hil_rllib.classifier.success_classifier import SuccessClassifier

        classifier = SuccessClassifier.load(self.path)
        return ClassifierReward(env, classifier, self.agree, self.window, self.threshold)


class Debounce:
    """Success once ``agree`` of the last ``window`` frames show it.

    Args:
        agree: Number of frames that must agree.
        window: Number of last frames that they are counted among.

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
        """Forget all frames, at the start of an episode."""
        self._frames.clear()

    def add(self, success: bool) -> bool:
        """Add the newest frame's verdict and return whether enough frames agree."""
        self._frames.append(bool(success))
        return sum(self._frames) >= self.agree


class ClassifierReward(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Wrapper that ends an episode with reward 1 once enough of the last frames show success.

    The environment inside should give no reward of its own (``reward="external"``). Where it ends
    an episode by itself, as an operator's key does, its reward and its ending stand, whatever the
    classifier says. Every step's ``info`` holds ``success_probability``; the step that ends with
    success has ``succeed`` true. The frame of a reset counts as one of the last frames, but no
    episode succeeds at its reset.

    Args:
        env: Environment with the classifier's cameras.
        classifier: Classifier of single frames.
        agree: Frames that must show success.
        window: Number of last frames that they are counted among.
        threshold: Lowest probability of a frame that shows success; None takes the classifier's.

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
        from e2hil_rllib.classifier.success_classifier import ClassifierError

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
        """Start an episode and forget the earlier frames."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._debounce.clear()
        self._judge(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and judge the frame that followed."""
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
