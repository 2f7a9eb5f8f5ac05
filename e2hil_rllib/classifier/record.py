"""Recording of labelled episodes in simulation, to train and to test a success classifier on.

A demonstration ends with success, so that it shows the solved task in one frame only, and hardly
any near miss. Here episodes continue after success, and the simulator labels each frame.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from e2hil_rllib.data.episodes import episode_files, episode_path, write_episode
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.errors import UserError
from e2hil_rllib.settings.environments import control_rate, fault_in_words
from e2hil_rllib.settings.run_settings import Settings

# Operators of the episodes, in turn: a person from the first step to the last; a random policy with
# the person's help, so that successes are left again and near misses abound; and the random policy
# alone. A learning policy's episodes are of the latter two kinds.
_KINDS: tuple[dict[str, Any], ...] = (
    {"mode": "demonstrate"},
    {"mode": "intervene"},
    {"mode": "intervene", "skill": 0.3},
    {"mode": "intervene", "attention": 0.0},
)
_SOLVED_STEPS = 20  # steps of success after which an episode ends
_CORRELATION = 0.85  # of the random policy's actions from one step to the next
_SCALE = 0.7  # standard deviation of its actions
_STREAM = 0x1AB3  # other starts than those of training, demonstrations and evaluation


class LabelledRecordingError(UserError):
    """A recording that is impossible; the message says why and what to do."""


@dataclass(frozen=True)
class LabelledRecording:
    """Numbers of recorded episodes, of their frames, and of frames that show success."""

    episodes: int
    frames: int
    success_frames: int


def record_labelled(
    settings: Settings,
    folder: Path,
    episodes: int,
    on_episode: Callable[[int], None] = lambda done: None,
) -> LabelledRecording:
    """Record episodes whose reward is 1 after each step at which the task is solved.

    Args:
        settings: Settings of a simulated environment with cameras (``env.cameras``); its person
            may be set as for training (``env.operator``).
        folder: Folder of the episodes; it must hold none yet.
        episodes: Number of episodes.
        on_episode: Callback after each episode, with their number so far.

    Raises:
        LabelledRecordingError: The folder holds episodes, or the environment cannot be made, has
            no cameras or does not say when its task is solved.
    """
    if folder.is_dir() and episode_files(folder):
        raise LabelledRecordingError(
            f"{folder} already holds {len(episode_files(folder))} episodes. Name another folder "
            "with --out, or remove them first."
        )
    frames = success_frames = 0
    with ExitStack() as stack:
        envs = [_make(settings, kind) for kind in _KINDS[:episodes]]
        for env in envs:
            stack.callback(env.close)
        for index in range(episodes):
            sequence = np.random.SeedSequence([settings.seed, index], spawn_key=(_STREAM,))
            rng = np.random.default_rng(sequence)
            episode = _record(envs[index % len(envs)], settings.task, index, rng)
            write_episode(episode_path(folder, index), episode)
            frames += episode.num_steps + 1
            success_frames += int(episode.rewards.sum())
            on_episode(index + 1)
    return LabelledRecording(episodes, frames, success_frames)


def _make(settings: Settings, kind: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    operator = {**(settings.env.get("operator") or {}), **kind}
    options = {**settings.env, "operator": operator, "reward": "external"}
    try:
        env = gymnasium.make(settings.task, **options)
    except (TypeError, ValueError, gymnasium.error.Error, ModuleNotFoundError) as error:
        fault = fault_in_words(error).rstrip(".?")
        raise LabelledRecordingError(
            f"The environment {settings.task} cannot be made with a person and reward 'external': "
            f"{fault}. Record with one of envs:SO101..., or train from recorded episodes."
        ) from error
    space = env.observation_space
    boxes = space.spaces.values() if isinstance(space, gymnasium.spaces.Dict) else [space]
    if not any(box.dtype == np.uint8 and len(box.shape or ()) == 3 for box in boxes):
        env.close()
        raise LabelledRecordingError(
            f"The environment {settings.task} has no cameras, and a classifier sees nothing else. "
            "Give it some, e.g. --set 'env.cameras=[front, wrist]'."
        )
    return env


def _record(
    env: gymnasium.Env[Any, Any], task: str, index: int, rng: np.random.Generator
) -> EpisodeSteps:
    observation, info = env.reset(seed=int(rng.integers(2**31)))
    if "task_succeed" not in info:
        raise LabelledRecordingError(
            f"The environment {task} does not say in info['task_succeed'] whether its task is "
            "solved. Record with one of envs:SO101..., or train from recorded episodes."
        )
    observations = [observation]
    actions: list[np.ndarray] = []
    solved: list[bool] = []
    led: list[bool] = []
    action = np.zeros(env.action_space.shape or (), np.float32)
    terminated = truncated = False
    while not (terminated or truncated) and sum(solved) < _SOLVED_STEPS:
        innovation = np.sqrt(1 - _CORRELATION**2) * _SCALE * rng.standard_normal(action.shape)
        action = np.clip(_CORRELATION * action + innovation, -1, 1).astype(np.float32)
        observation, _, terminated, truncated, info = env.step(action)
        observations.append(observation)
        led.append(bool(info["is_intervention"]))
        actions.append(info["teleop_action"] if led[-1] else action)
        solved.append(bool(info["task_succeed"]))
    return EpisodeSteps(
        episode=index,
        observations={key: np.stack([obs[key] for obs in observations]) for key in observation},
        actions=np.stack(actions),
        rewards=np.array(solved, np.float32),
        is_intervention=np.array(led, bool),
        terminated=bool(terminated),
        truncated=not terminated,
        succeed=solved[-1],
        fps=control_rate(env),
        task=task,
    )
