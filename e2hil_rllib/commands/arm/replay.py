"""`e2hil replay`: an arm does again what was done in a recorded episode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from e2hil_rllib.commands.arm.arm_session import announce, arm_session
from e2hil_rllib.data.episodes import read_episode
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.errors import UserError
from e2hil_rllib.report.style import BLUE, ORANGE, STYLE
from e2hil_rllib.settings.environments import control_rate
from e2hil_rllib.settings.run_settings import Settings
from envs.checked import ACTION_SIZE
from envs.operators.episode_keys import OperatorStopError

FloatArray = NDArray[np.floating]

_STATE = 21  # entries of an observation's state: 6 angles, 6 velocities, 6 currents, the TCP
_JOINTS, _TCP = np.s_[:6], np.s_[18:21]
_RATE_TOLERANCE = 0.01


class ReplayError(UserError):
    """An episode cannot be done again; the message says why and what to do."""


@dataclass(frozen=True)
class Replay:
    """What an arm did.

    Attributes:
        recorded: where the TCP was in the recording, shape (n, 3) [m], n steps and the start.
        replayed: where it was now, shape (n, 3) [m].
        rate: steps per second [Hz].
        ended: why it ended before the episode did, "" where it did not.
    """

    recorded: FloatArray
    replayed: FloatArray
    rate: float
    ended: str = ""

    @property
    def deviation(self) -> FloatArray:
        """Distance of the two at each step, shape (n,) [m]."""
        return np.linalg.norm(self.recorded - self.replayed, axis=1)


def replay(settings: Settings, path: Path, console: Console) -> Replay:
    """Moves an arm to where an episode began and gives it the episode's actions.

    On a physical arm the person has to be there, and begins it with a key. Whatever stood on the
    table then has to stand there again for more than the arm's motion to be the same.

    Args:
        settings: of the arm; a simulated one will do.
        path: the episode's file.
        console: where to tell what happens.

    Raises:
        ReplayError: the episode is none of such an arm, or was recorded at another rate.
        ArmSessionError: the arm cannot be used, or fails.
    """
    episode = _read(path)
    with arm_session(settings, console, operator=None, max_episode_steps=-1) as env:
        rate = control_rate(env)
        if abs(episode.fps - rate) > _RATE_TOLERANCE * rate:
            raise ReplayError(
                f"{path} was recorded at {episode.fps:g} Hz, and the arm is driven at {rate:g} Hz: "
                f"add --set env.control_hz={episode.fps:g}"
            )
        recorded = episode.observations["state"][:, _TCP]
        positions, ended = [], ""
        try:
            start = episode.observations["state"][0, _JOINTS]
            observation, _ = env.reset(options={"joint_positions": start})
            positions.append(observation["state"][_TCP])
            for action in episode.actions:
                observation, _, terminated, truncated, info = env.step(action)
                positions.append(observation["state"][_TCP])
                if terminated or truncated:
                    ended = info.get("interrupted") or ("success" if info["succeed"] else "a key")
                    break
        except (OperatorStopError, KeyboardInterrupt):
            ended = "stopped by the person at it"
    replayed = np.reshape(positions, (-1, 3))
    return Replay(recorded[: len(replayed)], replayed, rate, ended)


def show_replay(settings: Settings, path: Path, figure: Path | None, console: Console) -> None:
    """`e2hil replay`: does an episode again and says how well that went."""
    result = replay(settings, path, console)
    if result.ended:
        announce(console, f"Ended early: {result.ended}.")
    if not len(result.replayed):
        return
    millimetres = 1000 * result.deviation
    announce(
        console,
        f"Replayed {len(result.replayed) - 1} steps. The TCP was {np.median(millimetres):.1f} mm "
        f"from the recorded one (median), {millimetres.max():.1f} mm at most.",
    )
    if figure is not None:
        draw_replay(result, figure)
        announce(console, str(figure))


def draw_replay(result: Replay, path: Path) -> None:
    """Draws the recorded and the replayed way of the TCP, an axis a panel, into a PNG.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 6), dpi=100, layout="constrained")
        panels = figure.subplots(3, 1, sharex=True)
        seconds = np.arange(len(result.replayed)) / result.rate
        for place, (axes, name) in enumerate(zip(panels, "xyz", strict=True)):
            axes.plot(seconds, 1000 * result.recorded[:, place], color=BLUE, label="recorded")
            axes.plot(
                seconds, 1000 * result.replayed[:, place], "--", color=ORANGE, label="replayed"
            )
            axes.set_ylabel(f"{name} [mm]")
        panels[0].set_title("Tool centre point, recorded and replayed")
        panels[0].legend()
        panels[-1].set_xlabel("time [s]")
        save_figure(figure, path)


def _read(path: Path) -> EpisodeSteps:
    """Reads an episode of such an arm."""
    try:
        episode = read_episode(path)
    except FileNotFoundError as error:
        raise ReplayError(str(error)) from error
    state = episode.observations.get("state")
    if state is None or state.shape[1:] != (_STATE,) or episode.actions.shape[1] != ACTION_SIZE:
        raise ReplayError(
            f"{path} is an episode of {episode.task}, not of an SO101: expected a state of "
            f"{_STATE} numbers and actions of {ACTION_SIZE}"
        )
    return episode
