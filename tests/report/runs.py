"""Runs for tests of reports: settings, episodes and judged samples."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from e2hil_rllib.data.episodes import episode_path, write_episode
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.report.run.contact_sheet import Strip, draw_strips
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.run.selection_log import JudgedSamples, SelectionLog
from e2hil_rllib.settings.run_settings import Settings

CAMERAS = {"front": (12, 16, 3), "wrist": (10, 10, 3)}


def run_in(folder: Path, **values: Any) -> RunFolder:
    """A run folder with settings and an empty report folder."""
    run = RunFolder(folder / "touch")
    settings = {"task": "envs:SO101TouchCube-v0", "stop": {"steps": 400}, "env": {"operator": {}}}
    run.write_settings(Settings.model_validate(settings | values))
    run.report.mkdir()
    return run


def frame(camera: str, episode: int, step: int) -> np.ndarray:
    """Return a frame whose colour encodes camera, episode and step."""
    colour = (10 + 9 * list(CAMERAS).index(camera), 20 + episode, 30 + step)
    return np.full(CAMERAS[camera], colour, np.uint8)


def add_episode(
    folder: Path, episode: int, steps: int, human: tuple[int, ...] = (), cameras: bool = True
) -> Path:
    """Write an episode with the frames of ``frame``."""
    observations = {"state": np.zeros((steps + 1, 2), np.float32)}
    for name in CAMERAS if cameras else ():
        observations[name] = np.stack([frame(name, episode, t) for t in range(steps + 1)])
    path = episode_path(folder, episode)
    data = EpisodeSteps(
        episode=episode,
        observations=observations,
        actions=np.zeros((steps, 2), np.float32),
        rewards=np.zeros(steps, np.float32),
        is_intervention=np.isin(np.arange(steps), human),
        terminated=True,
        truncated=False,
        succeed=episode % 2 == 0,
        fps=10.0,
        task="touch",
    )
    write_episode(path, data)
    return path


def judged_samples(
    episodes: list[int], rule: str = "entropy", enabled: bool = True
) -> JudgedSamples:
    """100 samples with |c| from 0.01 to 1, of which 10 are pruned at each end.

    Sample i is of step i % 10; episodes and sources take turns.
    """
    number = np.arange(100)
    influence = np.where(number % 2, 1, -1) * (number + 1) / 100
    within = (number >= 10) & (number < 90)
    return JudgedSamples(
        episode=np.resize(np.repeat(episodes, 10), 100),
        step=number % 10,
        source=(number % 3).astype(np.uint8),
        influence=influence.astype(np.float32),
        kept=np.roll(within, 50) if rule == "random" else within,
        lower=0.105,
        upper=0.905,
        rule=rule,
        enabled=enabled,
    )


def log_selection(run: RunFolder, step: int, samples: JudgedSamples) -> None:
    """Write an iteration's file of the run's selection log."""
    log = SelectionLog(run.selection, 100)
    log.go_on_from(step)
    log.write(step, samples)


def damage(path: Path) -> None:
    """Cut a file off in its middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def recorded_strips(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[Strip]:
    """Return the list of strips that a module of the report draws from now on."""
    strips: list[Strip] = []

    def draw(given: list[Strip], path: Path) -> None:
        strips[:] = given
        draw_strips(given, path)

    monkeypatch.setattr(module, "draw_strips", draw)
    return strips


def captions(strip: Strip) -> list[str]:
    """Return the captions of a strip, each in one line."""
    return [shot.caption.replace("\n", " ") for shot in strip.shots]
