"""Deterministic episodes of a trained policy on a robot, where nobody takes over."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import gymnasium
from rich.console import Console

from e2hil_rllib.commands.arm.arm_session import announce, arm_session
from e2hil_rllib.external.protocol.weights import Weights
from e2hil_rllib.run.checkpoints import CheckpointError, CheckpointStore
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode
from e2hil_rllib.settings.build import policy_config
from e2hil_rllib.settings.run_settings import Settings
from envs.operators.episode_keys import OperatorStopError

_MODULE = "learner_group/learner/rl_module/default_policy/module_state.pkl"


def evaluate_on_robot(
    settings: Settings, checkpoint: Path, episodes: int, seed: int, console: Console
) -> list[EvaluatedEpisode]:
    """Lets a checkpoint's policy act without exploration.

    The person at an arm begins each episode and says whether it succeeded, unless a classifier
    does; an episode that is interrupted or re-recorded does not count. They may stop early.

    Args:
        settings: Of the run; the arm is at this machine.
        checkpoint: Of the policy.
        episodes: How many.
        seed: Of the first start; the next ones count up.
        console: Where the person looks.

    Returns:
        The episodes that count.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        ArmSessionError: The arm cannot be used, or fails.
        RefusedError: The policy is made for another environment.
    """
    from e2hil_rllib.external.robot.policy import LocalPolicy

    step = CheckpointStore.step_of(checkpoint)
    weights = Weights(1, 0, 0.0, _policy_of(checkpoint))
    # Where nobody can take over, there is no operator to leave out.
    alone = {"operator": None} if settings.physical or "operator" in settings.env else {}
    results: list[EvaluatedEpisode] = []
    with arm_session(settings, console, judged=True, **{**alone, **settings.evaluation_env}) as env:
        policy = LocalPolicy(policy_config(settings), env.observation_space, env.action_space, 0)
        policy.load(weights)
        try:
            while len(results) < episodes:
                number = seed + len(results)
                episode = _run_episode(env, policy, step, number, console)
                if episode is not None:
                    results.append(episode)
                    said = "success" if episode.success else "no success"
                    announce(console, f"episode {len(results)}: {said} after {episode.steps} steps")
        except (OperatorStopError, KeyboardInterrupt):
            announce(console, f"stopped after {len(results)} of {episodes} episodes")
    return results


def _run_episode(
    env: gymnasium.Env[Any, Any], policy: Any, step: int, seed: int, console: Console
) -> EvaluatedEpisode | None:
    """One episode; None where it does not count."""
    observation, first = env.reset(seed=seed)
    steps, total, succeed, ended = 0, 0.0, False, False
    while not ended:
        action = policy.act(observation, explore=False)
        observation, reward, terminated, truncated, info = env.step(action)
        if info.get("interrupted") or info.get("rerecord_episode") or info.get("stopped"):
            announce(console, f"not counted: {info.get('interrupted') or 'ended by hand'}")
            return None
        steps, total = steps + 1, total + float(reward)
        succeed = succeed or bool(info.get("succeed", False))
        ended = terminated or truncated
    return EvaluatedEpisode(step, seed, succeed, steps, total, str(first.get("start", "")))


def _policy_of(checkpoint: Path) -> dict[str, Any]:
    """The parameters of a checkpoint's policy.

    Raises:
        CheckpointError: It has none, or its file is damaged.
    """
    file = checkpoint / _MODULE
    try:
        state: dict[str, Any] = pickle.loads(file.read_bytes())  # our own, as all of a checkpoint
    except (OSError, EOFError, pickle.UnpicklingError, AttributeError) as error:
        raise CheckpointError(
            f"The policy of the checkpoint {checkpoint} cannot be loaded: {error}. Name another "
            "checkpoint."
        ) from error
    return state
