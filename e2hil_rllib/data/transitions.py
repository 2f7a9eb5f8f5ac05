"""A segment: consecutive steps of one episode, on their way into replay."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

#: Where a transition came from; its code in the ``source`` column is its place here.
SOURCE_NAMES = ("policy", "intervention", "demonstration")
POLICY, INTERVENTION, DEMONSTRATION = range(3)


@dataclass(frozen=True)
class Segment:
    """T consecutive steps of one episode with their T + 1 observations.

    The last observation is the frame that really followed the last step, also where the episode
    was truncated there or the human let go.
    """

    #: Number of the episode within the run.
    episode: int
    #: Number of the first step within the episode.
    first_step: int
    #: By name, each of shape (T + 1, ...).
    observations: dict[str, np.ndarray]
    #: Shape (T, d), executed actions in [−1, 1]^d.
    actions: np.ndarray
    #: Shape (T,).
    rewards: np.ndarray
    #: Shape (T,), true where the episode really ended; a time limit is not an end.
    terminated: np.ndarray
    #: Shape (T,), codes of SOURCE_NAMES.
    source: np.ndarray
    #: Whether a human led the step before the first one.
    after_human: bool = False

    def __post_init__(self) -> None:
        """Check lengths and numbers.

        Raises:
            ValueError: On lengths that do not fit, or a number that is not finite, naming the
                entry and the step.
        """
        steps = len(self.actions)
        lengths = {
            "rewards": len(self.rewards),
            "terminated": len(self.terminated),
            "source": len(self.source),
        } | {f"observation {key!r}": len(x) - 1 for key, x in self.observations.items()}
        for name, length in lengths.items():
            if length != steps:
                raise ValueError(
                    f"episode {self.episode}: {name} covers {length} steps, actions {steps}"
                )
        for name, array in self._arrays():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                step = int(np.argwhere(~np.isfinite(array))[0][0])
                raise ValueError(
                    f"episode {self.episode}, step {self.first_step + step}: {name} is not finite "
                    f"({array[step]}). The environment must never return NaN or infinity; "
                    "nothing of this chunk was stored"
                )

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        yield "the action", self.actions
        yield "the reward", self.rewards
        for key, array in self.observations.items():
            yield f"observation {key!r}", array

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def takeovers(self) -> int:
        """Changes of control to the human; an episode that a human begins counts as one."""
        human = np.concatenate([[self.after_human], self.source == INTERVENTION])
        return int((human[1:] & ~human[:-1]).sum())

    def return_range(self, gamma: float) -> tuple[float, float]:
        """Least and most that any of the steps returned, discounted, to the end of the segment.

        Without steps they are ∞ and −∞.
        """
        rewards = self.rewards.astype(np.float64)[::-1]
        returns = list(itertools.accumulate(rewards, lambda later, reward: reward + gamma * later))
        return min(returns, default=math.inf), max(returns, default=-math.inf)

    def part(self, start: int, stop: int) -> Segment:
        """Steps ``start`` to ``stop`` (exclusive) with the frames around them."""
        return Segment(
            self.episode,
            self.first_step + start,
            {key: array[start : stop + 1] for key, array in self.observations.items()},
            self.actions[start:stop],
            self.rewards[start:stop],
            self.terminated[start:stop],
            self.source[start:stop],
            bool(self.source[start - 1] == INTERVENTION) if start else self.after_human,
        )

    def runs_of(self, source: int) -> Iterator[Segment]:
        """The maximal runs of consecutive steps from one source."""
        chosen = np.concatenate([[False], self.source == source, [False]])
        edges = np.flatnonzero(chosen[1:] != chosen[:-1])
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            yield self.part(int(start), int(stop))
