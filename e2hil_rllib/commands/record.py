"""Recording demonstrations from the person that an environment simulates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console
from rich.progress import Progress

from e2hil_rllib.environments import control_rate, fault_in_words, make_environment
from e2hil_rllib.episodes import EpisodeData, episode_files, episode_path, write_episode
from e2hil_rllib.errors import UserError
from e2hil_rllib.settings import Settings

# A person who fails more often than this does not show how the task is done.
_ATTEMPTS_PER_EPISODE = 10
_STREAM = 0xDE30  # keeps demonstrations' starts apart from those of training and evaluation


class RecordingError(UserError):
    """Demonstrations cannot be recorded; the message says why and what to do."""


@dataclass(frozen=True)
class Recording:
    """What came of a recording: episodes kept, steps in them, and attempts that failed."""

    episodes: int
    steps: int
    failed: int


def record_demonstrations(
    settings: Settings,
    folder: Path,
    episodes: int,
    on_episode: Callable[[int, EpisodeData], None] = lambda kept, episode: None,
) -> Recording:
    """Lets the simulated person do the task, and keeps the episodes that succeed.

    Args:
        settings: Names the environment and the person (`env.operator`).
        folder: Where the episodes go; it must hold none yet.
        episodes: How many successful episodes to keep.
        on_episode: Called after each attempt, with the number of episodes kept so far.

    Raises:
        RecordingError: The folder holds episodes, the environment cannot be made or simulates
            nobody, or the person fails too often.
    """
    if folder.is_dir() and episode_files(folder):
        raise RecordingError(
            f"{folder} already holds {len(episode_files(folder))} episodes. Name another folder "
            "with --out, or remove them first."
        )
    env = _make_demonstrated(settings)
    kept = steps = attempt = 0
    try:
        while kept < episodes:
            if attempt == _ATTEMPTS_PER_EPISODE * episodes:
                raise RecordingError(
                    f"Only {kept} of {attempt} attempts at {settings.task} succeeded, "
                    f"{episodes} are wanted. Give the person more skill (env.operator.skill), or "
                    "check the task."
                )
            sequence = np.random.SeedSequence([settings.seed, attempt], spawn_key=(_STREAM,))
            seed = int(sequence.generate_state(1)[0] >> 1)
            attempt += 1
            episode = _record_episode(env, settings.task, seed, kept)
            if episode.succeed:
                write_episode(episode_path(folder, kept), episode)
                kept += 1
                steps += episode.num_steps
            on_episode(kept, episode)
    finally:
        env.close()
    return Recording(kept, steps, attempt - kept)


def record_with_progress(settings: Settings, folder: Path, episodes: int, console: Console) -> None:
    """`e2hil record`: records, and shows how far it has come."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Recording", total=episodes)
        recording = record_demonstrations(
            settings, folder, episodes, lambda kept, _: progress.update(task, completed=kept)
        )
    console.print(
        f"Recorded {recording.episodes} episodes ({recording.steps} steps) in {folder}; "
        f"{recording.failed} attempts failed and were dropped.",
        highlight=False,
    )


def _make_demonstrated(settings: Settings) -> gymnasium.Env[Any, Any]:
    operator = {**(settings.env.get("operator") or {}), "mode": "demonstrate"}
    try:
        options = {**settings.env, "operator": operator}
        return make_environment(settings.task, options, settings.judge())
    except (TypeError, ValueError, gymnasium.error.Error, ModuleNotFoundError) as error:
        fault = fault_in_words(error).rstrip(".?")
        raise RecordingError(
            f"The environment {settings.task} cannot be made with a person who demonstrates: "
            f"{fault}. Record with one of envs:SO101..., or set demonstrations.path to a folder "
            "of recorded episodes."
        ) from error


def _record_episode(env: gymnasium.Env[Any, Any], task: str, seed: int, index: int) -> EpisodeData:
    observation, info = env.reset(seed=seed)
    idle = np.zeros(env.action_space.shape or (), np.float32)
    observations = [observation]
    actions: list[np.ndarray] = []
    rewards: list[float] = []
    interventions: list[bool] = []
    terminated = truncated = succeed = False
    while not (terminated or truncated):
        observation, reward, terminated, truncated, info = env.step(idle)
        interventions.append(bool(info.get("is_intervention", False)))
        actions.append(_executed(info, idle, f"{task}, step {len(actions)}"))
        observations.append(observation)
        rewards.append(float(reward))
        succeed = succeed or bool(info.get("succeed", False))
    if not any(interventions):
        raise RecordingError(
            f"Nobody led a step of {task}: the environment's person does not demonstrate. "
            "Set demonstrations.path to a folder of recorded episodes."
        )
    return EpisodeData(
        episode=index,
        observations=_stacked(observations),
        actions=np.stack(actions),
        rewards=np.array(rewards, np.float32),
        is_intervention=np.array(interventions, bool),
        terminated=bool(terminated),
        truncated=bool(truncated),
        succeed=succeed,
        fps=control_rate(env),
        task=task,
    )


def _executed(info: dict[str, Any], idle: np.ndarray, where: str) -> np.ndarray:
    if not info.get("is_intervention", False):
        return idle.copy()
    action = np.asarray(info.get("teleop_action"), dtype=np.float32)
    if action.shape != idle.shape or not np.isfinite(action).all():
        raise RecordingError(
            f"{where}: info['teleop_action'] is {action}, expected finite numbers of shape "
            f"{idle.shape}. The environment has to report the action it executed."
        )
    return action


def _stacked(observations: list[Any]) -> dict[str, np.ndarray]:
    if isinstance(observations[0], dict):
        return {key: np.stack([obs[key] for obs in observations]) for key in observations[0]}
    return {"state": np.stack(observations)}
