"""Deterministic evaluation of a policy, episode by episode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from e2hil_rllib.data.outcomes import episode_outcome
from e2hil_rllib.env_runner import E2HiLEnvRunner


def evaluate_policy(
    config: AlgorithmConfig, module_state: Mapping[str, Any], num_episodes: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Run episodes with the mode of the policy, each from its own seed.

    Args:
        config: Evaluation configuration: the environment, and no exploration.
        module_state: State of the RLModule under its component's name.
        num_episodes: Episodes to run.
        seed: Of the first episode; the next ones count on from it.

    Yields:
        ``seed``, ``success``, ``task_succeed``, ``steps``, ``return`` and ``info`` of each episode.
    """
    config = config.copy(copy_frozen=False)
    config.num_envs_per_env_runner = 1
    runner = E2HiLEnvRunner(config=config, worker_index=0)
    try:
        runner.set_state(dict(module_state))
        for episode_seed in range(seed, seed + num_episodes):
            runner.seed_next_reset(episode_seed)
            (episode,) = runner.sample(num_episodes=1, explore=False)
            infos = episode.get_infos()
            outcome = episode_outcome(infos[1:], float(episode.get_return()))
            yield {
                "seed": episode_seed,
                "success": outcome.success,
                "task_succeed": _solved(infos[1:]),
                "steps": outcome.num_steps,
                "return": outcome.episode_return,
                "info": _scalars(infos[0]),
            }
    finally:
        runner.stop()


def _solved(step_infos: list[Mapping[str, Any]]) -> bool | None:
    """Whether the simulator saw the task done at any step; None where it leaves that unsaid.

    It says so where somebody else judges, a classifier for instance, who can be measured by it.
    """
    known = [bool(info["task_succeed"]) for info in step_infos if "task_succeed" in info]
    return any(known) if known else None


def _scalars(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in info.items()
        if isinstance(value, bool | int | float | str | np.generic)
    }
