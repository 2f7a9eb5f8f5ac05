"""Observations of the policy: frames of the newest episodes, from start to end."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from e2hil_rllib.data.episodes import DamagedEpisodeError, episode_files
from e2hil_rllib.disk.files import remove_file
from e2hil_rllib.report.page import Page
from e2hil_rllib.report.run.contact_sheet import COLUMNS, Shot, Strip, draw_strips
from e2hil_rllib.report.run.footage import Footage
from e2hil_rllib.report.style import COLOUR_OF_SOURCE, GREY
from e2hil_rllib.run.run_folder import RunFolder

_EPISODES = 3
_SEARCHED = 100  # newest episodes to search for one with a human step


def add_observations(page: Page, run: RunFolder) -> None:
    """Add strips of the newest episodes to a page; nothing where none of them has frames.

    One of them is the newest with a human step, if there is one among the last hundred.
    Damaged files are left out with a note.
    """
    picture = run.report / "observations.png"
    notes: list[str] = []
    strips = []
    for footage in _chosen(run.episodes, notes):
        try:
            strips.append(_strip_of(footage))
        except DamagedEpisodeError as error:
            notes.append(str(error))
    if not strips:
        remove_file(picture)
    if not strips and not notes:
        return
    page.heading("What the policy sees")
    if strips:
        draw_strips(strips, picture)
        page.paragraph(
            "Newest episodes of training from start to end. Blue: the policy acted, orange: the "
            "human."
        )
        page.figures([("Frames of the newest episodes", picture)], wide=True)
    for note in notes:
        page.paragraph(f"Left out: {note}")


def _chosen(folder: Path, notes: list[str]) -> list[Footage]:
    """Return the newest episodes with frames, in their order, one of them with a human step."""
    newest: list[Footage] = []
    paths = reversed(episode_files(folder)) if folder.is_dir() else iter(())
    for path in islice(paths, _SEARCHED):
        try:
            footage = Footage(path)
        except DamagedEpisodeError as error:
            notes.append(str(error))
            continue
        if not footage.cameras:
            break
        if len(newest) < _EPISODES:
            newest.append(footage)
        elif footage.is_human.any():
            newest[-1] = footage
        if len(newest) == _EPISODES and any(f.is_human.any() for f in newest):
            break
    return newest[::-1]


def _strip_of(footage: Footage) -> Strip:
    steps = _steps(footage.is_human)
    shots = []
    for step, frames in zip(steps, footage.frames(steps), strict=True):
        if step == footage.num_steps:
            shots.append(Shot(frames, "after the\nlast step", GREY))
            continue
        human = footage.is_human[step]
        colour = COLOUR_OF_SOURCE["intervention" if human else "policy"]
        shots.append(Shot(frames, f"step {step}\n{'human' if human else 'policy'}", colour))
    led = int(footage.is_human.sum())
    title = (
        f"Episode {footage.episode}: {'solved' if footage.succeeded else 'not solved'}, "
        f"{footage.num_steps} steps, {led or 'none'} of them led by the human"
    )
    return Strip(title, shots)


def _steps(is_human: np.ndarray) -> list[int]:
    """Return evenly spaced steps from 0 to T, one of them a human step if there is any."""
    steps = np.unique(np.linspace(0, len(is_human), COLUMNS).round().astype(int))
    led = np.flatnonzero(is_human)
    if len(led) and not np.isin(led, steps).any():
        shown = led[len(led) // 2]
        inner = steps[1:-1]  # not empty: otherwise the human step would be among the steps
        steps[1 + int(np.abs(inner - shown).argmin())] = shown
    return [int(step) for step in steps]
