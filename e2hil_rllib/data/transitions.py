"""Consecutive steps of one episode: as they were carried out, and as replay stores them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from e2hil_rllib.data.action_scale import ActionScale

#: Sources of transitions; the code in the ``source`` column is the index here.
SOURCE_NAMES = ("policy", "intervention", "demonstration")
POLICY, INTERVENTION, DEMONSTRATION = range(3)


@dataclass(frozen=True, eq=False, kw_only=True)
class EpisodeSteps:
    """T consecutive steps of one episode with their T + 1 observations, as they were carried out.

    The one type between robot, disk and replay: a file of an episode holds all of its steps, a
    chunk on the wire those since the chunk before it.

    Attributes:
        episode: Index of the episode in its recording.
        first_step: Number of the first step in the episode.
        observations: Arrays of shape (T + 1, ...) by observation key: the observation before each
            step, and the one that really followed the last step. Images are uint8 of shape
            (T + 1, height, width, 3).
        actions: Executed actions in the environment's units, float32, shape (T, action_dim).
        rewards: float32, shape (T,).
        is_intervention: True where a human chose the action, bool, shape (T,).
        terminated: Whether the task ended the episode with the last step (success or failure).
        truncated: Whether something else ended it there (time limit, pause).
        succeed: Whether the task was solved; False before the episode's end.
        fps: Control steps per second [Hz].
        task: Name of the task, e.g. the environment's id.
        origin: Name of the episode among those of all robots; "" without a robot.
    """

    episode: int
    first_step: int = 0
    observations: dict[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    is_intervention: np.ndarray
    terminated: bool
    truncated: bool
    succeed: bool
    fps: float
    task: str
    origin: str = ""

    @property
    def num_steps(self) -> int:
        """T, the number of steps."""
        return len(self.actions)

    @property
    def ends_episode(self) -> bool:
        """Whether the episode ended with the last step."""
        return self.terminated or self.truncated

    def check(self) -> None:
        """Refuse steps that cannot be learned from.

        Raises:
            ValueError: A shape, a type or a value is wrong; the message names the field.
        """
        if self.episode < 0:
            raise ValueError(f"episode is {self.episode}, expected an index from 0")
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps is {self.fps}, expected a positive number")
        if self.actions.ndim != 2 or 0 in self.actions.shape:
            raise ValueError(f"actions have shape {self.actions.shape}, expected (T, action_dim)")
        steps = self.num_steps
        fields: dict[str, tuple[np.ndarray, type[np.generic]]] = {
            "actions": (self.actions, np.float32),
            "rewards": (self.rewards, np.float32),
            "is_intervention": (self.is_intervention, np.bool_),
        }
        for name, (array, dtype) in fields.items():
            if array.dtype != dtype:
                raise ValueError(f"{name} are {array.dtype}, expected {np.dtype(dtype)}")
            if name != "actions" and array.shape != (steps,):
                raise ValueError(f"{name} have shape {array.shape}, expected ({steps},)")
            _refuse_not_finite(name, array)
        if not self.observations:
            raise ValueError("there is no observation")
        for key, array in self.observations.items():
            name = f"observations[{key!r}]"
            if array.dtype.kind not in "fiub":
                raise ValueError(f"{name} are {array.dtype}, expected numbers")
            if array.ndim < 1 or len(array) != steps + 1 or array.size == 0:
                raise ValueError(
                    f"{name} have shape {array.shape}, expected ({steps + 1}, ...): {steps} steps "
                    f"have {steps + 1} observations"
                )
            _refuse_not_finite(name, array)

    def transitions(
        self, scale: ActionScale, *, episode: int, first_step: int, after_human: bool = False
    ) -> Transitions:
        """Convert the steps to what replay stores.

        Args:
            scale: Scale between the environment's actions and [−1, 1]^d.
            episode: Number of the episode within the run.
            first_step: Number of the first step within the run's episode.
            after_human: Whether a human led the step before the first one.
        """
        terminated = np.zeros(self.num_steps, bool)
        terminated[-1:] = self.terminated
        return Transitions(
            episode,
            first_step,
            {key: as_stored(x) for key, x in self.observations.items()},
            scale.to_unit(np.clip(self.actions, scale.low, scale.high)).astype(np.float32),
            self.rewards,
            terminated,
            np.where(self.is_intervention, INTERVENTION, POLICY).astype(np.uint8),
            after_human,
        )


def as_stored(array: np.ndarray) -> np.ndarray:
    """The array as replay stores it: images stay uint8, everything else is float32."""
    return array if array.dtype == np.uint8 else array.astype(np.float32)


def _refuse_not_finite(name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise ValueError(f"{name} hold a value that is not finite at index {row}")


@dataclass(frozen=True)
class Transitions:
    """T consecutive steps of one episode with their T + 1 observations, as replay stores them.

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
        """Least and most that any of the steps returned, discounted, to the end of these steps.

        Without steps they are ∞ and −∞.
        """
        rewards = self.rewards.astype(np.float64)[::-1]
        returns = list(itertools.accumulate(rewards, lambda later, reward: reward + gamma * later))
        return min(returns, default=math.inf), max(returns, default=-math.inf)

    def part(self, start: int, stop: int) -> Transitions:
        """Steps ``start`` to ``stop`` (exclusive) with the frames around them."""
        return Transitions(
            self.episode,
            self.first_step + start,
            {key: array[start : stop + 1] for key, array in self.observations.items()},
            self.actions[start:stop],
            self.rewards[start:stop],
            self.terminated[start:stop],
            self.source[start:stop],
            bool(self.source[start - 1] == INTERVENTION) if start else self.after_human,
        )

    def runs_of(self, source: int) -> Iterator[Transitions]:
        """The maximal runs of consecutive steps from one source."""
        chosen = np.concatenate([[False], self.source == source, [False]])
        edges = np.flatnonzero(chosen[1:] != chosen[:-1])
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            yield self.part(int(start), int(stop))
