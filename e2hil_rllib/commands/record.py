"""Recording demonstrations from a person: the one that an environment simulates, or a real one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console
from rich.progress import Progress

from e2hil_rllib.commands.arm.arm_session import announce, arm_session, is_physical
from e2hil_rllib.data.episodes import episode_files, episode_path, write_episode
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.errors import UserError
from e2hil_rllib.settings.environments import control_rate
from e2hil_rllib.settings.run_settings import Settings
from envs.operators.episode_keys import OperatorStopError

# A simulated person who fails more often than this does not show how the task is done.
_ATTEMPTS_PER_EPISODE = 10
_STREAM = 0xDE30  # keeps demonstrations' starts apart from those of training and evaluation
_DISCARDED = "discarded"


class RecordingError(UserError):
    """Demonstrations cannot be recorded; the message says why and what to do."""


@dataclass
class Recording:
    """What came of a recording.

    Attributes:
        episodes: how many the folder holds.
        steps: how many steps were recorded and kept.
        failed: attempts that were dropped.
        stopped: whether the person stopped before there were enough.
    """

    episodes: int
    steps: int = 0
    failed: int = 0
    stopped: bool = False


def record_demonstrations(
    settings: Settings,
    folder: Path,
    episodes: int,
    on_episode: Callable[[int, EpisodeSteps | None], None] = lambda kept, episode: None,
    console: Console | None = None,
    resume: bool = False,
) -> Recording:
    """Lets a person do the task, and keeps the episodes that succeed, each as soon as it ends.

    A real person may re-record the episode that runs; or, while the arm waits for the next one,
    the one before, which then goes into the folder `discarded`.

    Args:
        settings: Names the environment and, where it is simulated, the person (`env.operator`).
        folder: Where the episodes go.
        episodes: How many successful episodes the folder is to hold in the end.
        on_episode: Called after each attempt, with the number of episodes so far and the attempt,
            None where the person re-records it or it was interrupted.
        console: Where to tell the person at an arm what to do; None tells nobody.
        resume: Go on with the episodes that a real person has recorded in the folder.

    Raises:
        RecordingError: The folder holds episodes, the environment cannot be made or simulates
            nobody, or the simulated person fails too often.
        ArmSessionError: The arm fails; what was kept before stays.
    """
    there = len(episode_files(folder)) if folder.is_dir() else 0
    if there and not resume:
        raise RecordingError(
            f"{folder} already holds {there} episodes. Name another folder with --out, remove them "
            "first, or, if a real person recorded them, go on with --resume."
        )
    console = console or Console(quiet=True)
    recording = Recording(there)
    with _demonstrated(settings, console) as env:
        if there and not is_physical(env):
            raise RecordingError(
                f"{folder} already holds {there} episodes, and those of a simulated person follow "
                "from the seed as a whole. Name another folder with --out, or remove them first."
            )
        try:
            _record(env, settings, folder, episodes, recording, on_episode, console)
        except OperatorStopError:
            recording.stopped = True
    return recording


def _record(
    env: gymnasium.Env[Any, Any],
    settings: Settings,
    folder: Path,
    episodes: int,
    recording: Recording,
    on_episode: Callable[[int, EpisodeSteps | None], None],
    console: Console,
) -> None:
    """Records until there are enough episodes."""
    attempt = recording.episodes
    while recording.episodes < episodes:
        if attempt == _ATTEMPTS_PER_EPISODE * episodes and not is_physical(env):
            raise RecordingError(
                f"Only {recording.episodes} of {attempt} attempts at {settings.task} succeeded, "
                f"{episodes} are wanted. Give the person more skill (env.operator.skill), or "
                "check the task."
            )
        sequence = np.random.SeedSequence([settings.seed, attempt], spawn_key=(_STREAM,))
        attempt += 1
        observation, info = env.reset(seed=int(sequence.generate_state(1)[0] >> 1))
        if info.get("rerecord_episode") and recording.episodes:
            console.print(f"the last episode is now {_discard(folder)}", highlight=False)
            recording.episodes -= 1
        index = _next_index(folder)
        episode = _record_episode(env, settings.task, observation, index, console)
        if episode is not None and episode.succeed:
            write_episode(episode_path(folder, index), episode)
            recording.episodes += 1
            recording.steps += episode.num_steps
        else:
            recording.failed += 1
        on_episode(recording.episodes, episode)


def _next_index(folder: Path) -> int:
    """The index behind that of the last episode there is."""
    files = episode_files(folder) if folder.is_dir() else []
    return int(files[-1].stem.rsplit("_", 1)[1]) + 1 if files else 0


def _discard(folder: Path) -> Path:
    """Moves the last episode aside, under a name that is free, and returns that."""
    last = episode_files(folder)[-1]
    aside = folder / _DISCARDED
    aside.mkdir(exist_ok=True)
    number = len(list(aside.iterdir()))
    return last.rename(aside / f"{last.stem}_{number}.parquet")


def record_with_progress(
    settings: Settings, folder: Path, episodes: int, console: Console, resume: bool = False
) -> bool:
    """`e2hil record`: records, and shows how far it has come.

    Returns:
        Whether there are as many episodes as wanted.
    """
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Recording", total=episodes)

        def show(kept: int, episode: EpisodeSteps | None) -> None:
            progress.update(task, completed=kept)

        try:
            recording = record_demonstrations(
                settings, folder, episodes, show, progress.console, resume
            )
        except KeyboardInterrupt:
            announce(console, f"Stopped. What was complete is in {folder}.")
            return False
    announce(
        console,
        f"Recorded {recording.steps} steps; {recording.failed} attempts were dropped. {folder} "
        f"holds {recording.episodes} episodes.",
    )
    if recording.stopped:
        announce(console, f"Stopped; --resume goes on until there are {episodes}.")
    return not recording.stopped


def _demonstrated(
    settings: Settings, console: Console
) -> AbstractContextManager[gymnasium.Env[Any, Any]]:
    """The environment with a person who demonstrates."""
    operator = {**(settings.env.get("operator") or {}), "mode": "demonstrate"}
    advice = "Record with one of envs:SO101..., or set demonstrations.path to recorded episodes."
    return arm_session(
        settings,
        console,
        judged=True,
        made_with="a person who demonstrates",
        advice=advice,
        operator=operator,
    )


def _record_episode(
    env: gymnasium.Env[Any, Any], task: str, observation: Any, index: int, console: Console
) -> EpisodeSteps | None:
    """Records one episode from its reset's observation; None where nothing of it is wanted."""
    idle = np.zeros(env.action_space.shape or (), np.float32)
    observations = [observation]
    actions: list[np.ndarray] = []
    rewards: list[float] = []
    interventions: list[bool] = []
    terminated = truncated = succeed = False
    while not (terminated or truncated):
        observation, reward, terminated, truncated, info = env.step(idle)
        if info.get("interrupted"):
            announce(console, f"interrupted, and not kept: {info['interrupted']}")
            return None
        if info.get("rerecord_episode"):
            return None
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
    return EpisodeSteps(
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
