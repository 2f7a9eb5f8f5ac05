"""What is measured of an episode: success, human steps, and success without a human."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EpisodeOutcome:
    """Outcome of one finished episode; ``success`` is None where the environment does not say."""

    num_steps: int
    human_steps: int
    success: bool | None

    @property
    def autonomous_success(self) -> bool | None:
        """Success without a single human step."""
        return None if self.success is None else self.success and self.human_steps == 0


def episode_outcome(step_infos: Iterable[Mapping[str, Any]]) -> EpisodeOutcome:
    """Read the outcome from the infos of an episode's steps, the reset's info left out."""
    steps = human = 0
    success: bool | None = None
    for info in step_infos:
        steps += 1
        human += bool(info.get("is_intervention", False))
        if "succeed" in info:
            success = bool(success) or bool(info["succeed"])
    return EpisodeOutcome(steps, human, success)
