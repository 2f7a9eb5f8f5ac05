"""Whether a learner's log and buffers hold exactly what its robot has done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from e2hil_rllib.data.episodes import read_episodes
from tests.relay import StepId


@dataclass
class Logged:
    """What an episode log holds.

    Attributes:
        ids: Every step by the robot's numbers.
        numbered: Every step by the learner's numbers (episode, step), in their order.
        human: Those of them that a human led.
        doubled: Steps of the robot that are there twice.
    """

    ids: set[StepId]
    numbered: list[tuple[int, int]]
    human: set[tuple[int, int]]
    doubled: list[StepId]


def read_log(folder: Path) -> Logged:
    """Reads all episodes that robots have sent."""
    logged = Logged(set(), [], set(), [])
    for episode in read_episodes(folder):
        stream, number, first = episode.origin.split("/")
        for step in range(episode.num_steps):
            key = (stream, int(number), int(first) + step)
            logged.doubled += [key] if key in logged.ids else []
            logged.ids.add(key)
            logged.numbered.append((episode.episode, step))
            if episode.is_intervention[step]:
                logged.human.add((episode.episode, step))
    return logged
