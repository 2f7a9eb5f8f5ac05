"""What is measured of episodes: success, human steps, and success without a human."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Episodes over which rates are averaged.
WINDOW = 100

_Z = 1.959964  # of the normal distribution's central 95 %


@dataclass(frozen=True)
class EpisodeOutcome:
    """Outcome of one finished episode; ``success`` is None where the environment does not say."""

    num_steps: int
    human_steps: int
    success: bool | None
    episode_return: float

    @property
    def autonomous_success(self) -> bool | None:
        """Success without a single human step."""
        return None if self.success is None else self.success and self.human_steps == 0


def episode_outcome(
    step_infos: Iterable[Mapping[str, Any]], episode_return: float
) -> EpisodeOutcome:
    """Read the outcome from the infos of an episode's steps, the reset's info left out."""
    steps = human = 0
    success: bool | None = None
    for info in step_infos:
        steps += 1
        human += bool(info.get("is_intervention", False))
        if "succeed" in info:
            success = bool(success) or bool(info["succeed"])
    return EpisodeOutcome(steps, human, success, episode_return)


def outcome_rates(outcomes: Collection[EpisodeOutcome]) -> dict[str, float]:
    """Rates over episodes; NaN before the first, and where the environment does not say.

    ``intervention_rate`` is human-controlled steps over all steps, ``autonomous_success_rate``
    successes without a human step over all episodes.
    """
    steps = sum(outcome.num_steps for outcome in outcomes)
    successes = [o.success for o in outcomes if o.success is not None]
    autonomous = [o.autonomous_success for o in outcomes if o.autonomous_success is not None]
    return {
        "success_rate": _mean(successes),
        "autonomous_success_rate": _mean(autonomous),
        "intervention_rate": sum(o.human_steps for o in outcomes) / steps if steps else math.nan,
        "episode_return_mean": _mean([o.episode_return for o in outcomes]),
        "episode_len_mean": _mean([o.num_steps for o in outcomes]),
    }


def wilson_interval(share: float, trials: int) -> tuple[float, float]:
    """Wilson score interval of a success rate, 95 % (Wilson, 1927).

    Args:
        share: Share of successes, 0 to 1.
        trials: Number of independent trials, at least 1.

    Returns:
        Lower and upper end.
    """
    center = (share + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
    spread = math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    half = _Z / (1 + _Z**2 / trials) * spread
    return center - half, center + half


def _mean(values: Collection[float]) -> float:
    return sum(values) / len(values) if values else math.nan
