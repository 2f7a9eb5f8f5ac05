"""Settings of several sections that exclude each other."""

from __future__ import annotations

import gymnasium
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig


def check_together(config: AlgorithmConfig) -> None:
    """Refuse settings that are each in their range and exclude each other.

    Args:
        config: An ``E2HiLConfig``.

    Raises:
        ValueError: Naming the setting, what it is, and what to set instead.
    """
    mode = gymnasium.VectorizeMode(config.gym_env_vectorize_mode)
    if config.judge is not None and mode is not gymnasium.VectorizeMode.SYNC:
        raise ValueError(
            f"gym_env_vectorize_mode={mode.value!r}: a success classifier needs "
            "'sync', where it shares the process of the environments"
        )
    if config.connector is not None and config.episode_log is None:
        raise ValueError(
            "external(...) needs human_in_the_loop(episode_log=FOLDER): what robots have sent is "
            "deleted from the inbox once it is in the log"
        )
    if config.demonstration_fraction > 0 and not (config.demonstrations or config.interventions):
        raise ValueError(
            f"demonstration_fraction={config.demonstration_fraction}, but there are neither "
            "demonstrations nor interventions to fill the demonstration buffer. Set "
            "human_in_the_loop(demonstrations=FOLDER) or interventions=True, or "
            "demonstration_fraction=0 to learn without a human"
        )
    if config.imitated_rows == "selected" and not config.selection_enabled:
        raise ValueError(
            'imitation rows="selected" needs entropy_selection(enabled=True), which selects them. '
            'Enable it, or set imitation(rows="all")'
        )
