"""Making environments, and what one says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from e2hil_rllib.classifier.judge import Judge

_DEFAULT_RATE = 10.0  # [Hz]


def make_environment(
    task: str, options: dict[str, Any], judge: Judge | None = None
) -> gymnasium.Env[Any, Any]:
    """Makes an environment, judged by a classifier where there is one.

    Raises:
        ClassifierError: The classifier cannot be loaded, or looks through other cameras.
        Exception: Whatever the environment raises on options that it does not take.
    """
    env: gymnasium.Env[Any, Any] = gymnasium.make(task, **options)
    return env if judge is None else judge.wrap(env)


def fault_in_words(error: Exception) -> str:
    """What kept an environment from being made, without what gymnasium adds to it."""
    return str(error).split(" was raised from the environment creator")[0]


def tells_success(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether an environment says in its info if its task has succeeded; it is reset."""
    return "succeed" in env.reset(seed=0)[1]


def control_rate(env: gymnasium.Env[Any, Any]) -> float:
    """Steps of an environment per second [Hz], 10 where it does not say."""
    if env.has_wrapper_attr("control_hz"):
        return float(env.get_wrapper_attr("control_hz"))
    return float(env.metadata.get("render_fps", _DEFAULT_RATE))
