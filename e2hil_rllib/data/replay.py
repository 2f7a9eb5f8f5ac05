"""Replay: columnar, seeded, and half online, half demonstrations where there is a human."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e2hil_rllib.data.observation_store import FrameStore
from e2hil_rllib.data.returns import UNKNOWN, known_returns, n_step_windows
from e2hil_rllib.data.transitions import (
    DEMONSTRATION,
    INTERVENTION,
    POLICY,
    SOURCE_NAMES,
    Transitions,
)

__all__ = ["EPISODE", "SOURCE", "SOURCE_NAMES", "STEP", "HumanInTheLoopReplay", "ReplayBuffer"]

#: Name of the batch column that says where a transition came from.
SOURCE = "source"
#: Names of the batch columns that say where a transition's frames lie on disk.
EPISODE, STEP = "episode", "step"
#: Names of the batch columns with the discount of the value after a transition's n-step window, and
#: with the return that a person reached from it.
DISCOUNT, FLOOR = "discounts", "floors"
Batch = dict[str, Any]


class ReplayBuffer:
    """The newest ``capacity`` transitions, their frames stored once.

    A transition holds the numbers of its two frames. The next frame of a step is the one that
    followed it in its own episode, whatever was added in between. What the critics' target needs
    of its future, its n-step window and a known return, is stored with it, and completed when the
    next steps of its episode come.

    Args:
        capacity: Transitions that it holds.
        shapes: Shape of each entry of an observation.
        dtypes: Type of each entry of an observation.
        action_size: d, numbers of an action.
        gamma: Discount per step.
        n_step: Steps of a window.
    """

    def __init__(
        self,
        capacity: int,
        shapes: Mapping[str, tuple[int, ...]],
        dtypes: Mapping[str, np.dtype],
        action_size: int,
        *,
        gamma: float,
        n_step: int = 1,
    ):
        if capacity < 1:
            raise ValueError(f"capacity={capacity}: a replay buffer holds at least 1 transition")
        self.capacity = capacity
        self.action_size = action_size
        self._gamma, self._n_step = gamma, n_step
        # One frame more for every run of steps: a sixteenth is room for runs of sixteen.
        self._frames = FrameStore(shapes, dtypes, capacity + max(64, capacity // 16))
        self._columns: dict[str, np.ndarray] = {
            "frame": np.zeros(capacity, np.int64),
            "next_frame": np.zeros(capacity, np.int64),
            "actions": np.zeros((capacity, action_size), np.float32),
            "rewards": np.zeros(capacity, np.float32),
            "terminateds": np.zeros(capacity, np.float32),
            SOURCE: np.zeros(capacity, np.uint8),
            EPISODE: np.zeros(capacity, np.int64),
            STEP: np.zeros(capacity, np.int64),
        }
        # Derived from the columns above, so that checkpoints do not hold them.
        self._targets: dict[str, np.ndarray] = {
            "rewards": np.zeros(capacity, np.float32),
            DISCOUNT: np.zeros(capacity, np.float32),
            FLOOR: np.full(capacity, UNKNOWN, np.float32),
            "last_frame": np.zeros(capacity, np.int64),
        }
        #: Transitions ever added.
        self.count = 0
        # Last frame of each episode that may go on: episode -> (its step, its frame).
        self._tails: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    def add(self, transitions: Transitions) -> None:
        """Append transitions; of more than the buffer holds, the newest."""
        if len(transitions) > self.capacity:
            transitions = transitions.part(len(transitions) - self.capacity, len(transitions))
        steps = len(transitions)
        if steps == 0:
            return
        self.count += steps
        rows = np.arange(self.count - steps, self.count) % self.capacity
        frames = self._add_frames(transitions, rows)
        columns = self._columns
        columns["frame"][rows] = frames[:-1]
        columns["next_frame"][rows] = frames[1:]
        columns["actions"][rows] = transitions.actions
        columns["rewards"][rows] = transitions.rewards
        columns["terminateds"][rows] = transitions.terminated
        columns[SOURCE][rows] = transitions.source
        columns[EPISODE][rows] = transitions.episode
        columns[STEP][rows] = transitions.first_step + np.arange(steps)
        self._tails[transitions.episode] = (transitions.first_step + steps, int(frames[-1]))
        self._targets[FLOOR][rows] = UNKNOWN
        self._complete(rows, transitions)

    def _complete(self, rows: np.ndarray, transitions: Transitions) -> None:
        """Derive targets of new rows, and of the earlier ones of their episode that they extend."""
        succeeded = transitions.terminated[-1] and transitions.rewards[-1] > 0
        if succeeded and transitions.source[-1] != POLICY:
            self._derive(self._continued(rows, transitions, None))
        else:
            self._derive(self._continued(rows, transitions, self._n_step - 1))

    def _continued(
        self, rows: np.ndarray, transitions: Transitions, before: int | None
    ) -> np.ndarray:
        """New rows, and up to ``before`` (None: all) earlier ones that lead there without a gap."""
        if before == 0:
            return rows
        columns, first = self._columns, transitions.first_step
        earliest = 0 if before is None else max(0, first - before)
        held = slice(0, len(self))
        found = np.flatnonzero(
            (columns[EPISODE][held] == transitions.episode)
            & (columns[STEP][held] >= earliest)
            & (columns[STEP][held] < first)
        )
        found = found[np.argsort(columns[STEP][found])]
        # Steps that lie before a gap do not lead to the new ones.
        consecutive = columns[STEP][found] == first - np.arange(len(found), 0, -1)
        return np.concatenate([found[consecutive], rows])

    def _derive(self, rows: np.ndarray) -> None:
        """Write the targets of rows that are consecutive steps of one episode."""
        columns, targets = self._columns, self._targets
        rewards, terminated = columns["rewards"][rows], columns["terminateds"][rows]
        human = columns[SOURCE][rows] != POLICY
        windows = n_step_windows(rewards, terminated, human, gamma=self._gamma, n_step=self._n_step)
        targets["rewards"][rows] = windows.rewards
        targets[DISCOUNT][rows] = windows.discounts
        targets["last_frame"][rows] = columns["next_frame"][rows[windows.last]]
        targets[FLOOR][rows] = known_returns(rewards, terminated, human, gamma=self._gamma)

    def _add_frames(self, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
        """Store the frames that are not there yet; return all T + 1 numbers."""
        step, tail = self._tails.get(transitions.episode, (-1, -1))
        continues = step == transitions.first_step and self._frames.holds(tail)
        oldest = self._oldest_frame(rows, tail if continues else None)
        new = {k: x[1:] if continues else x for k, x in transitions.observations.items()}
        ids = self._frames.add(new, oldest)
        if len(self._tails) > 256:
            self._tails = {e: t for e, t in self._tails.items() if self._frames.holds(t[1])}
        return np.concatenate([[tail], ids]) if continues else ids

    def _oldest_frame(self, overwritten_rows: np.ndarray, tail: int | None) -> int:
        """Number of the oldest frame that the surviving transitions, or a tail, need."""
        survives = np.zeros(self.capacity, bool)
        survives[: min(self.count, self.capacity)] = True
        survives[overwritten_rows] = False
        frames = self._columns["frame"][survives]
        oldest = int(frames.min()) if len(frames) else self._frames.count
        return oldest if tail is None else min(oldest, tail)

    def empty_batch(self, rows: int) -> Batch:
        """Uninitialised batch columns for ``rows`` transitions."""
        columns = {
            name: np.empty((rows, *stored.shape[1:]), stored.dtype)
            for name, stored in self._sampled().items()
        }
        return columns | {"obs": self._frames.empty(rows), "new_obs": self._frames.empty(rows)}

    def _sampled(self) -> dict[str, np.ndarray]:
        """The columns of a batch, apart from its observations."""
        columns = self._columns | self._targets  # the rewards are those of the windows
        names = ("actions", "rewards", DISCOUNT, FLOOR, SOURCE, EPISODE, STEP)
        return {name: columns[name] for name in names}

    def sample_into(self, batch: Batch, rows: slice, generator: np.random.Generator) -> None:
        """Fill rows of a batch with transitions drawn uniformly, with replacement.

        Raises:
            ValueError: When the buffer is empty.
        """
        if not len(self):
            raise ValueError("cannot sample from an empty replay buffer")
        chosen = generator.integers(0, len(self), rows.stop - rows.start)
        for name, stored in self._sampled().items():
            np.take(stored, chosen, axis=0, out=batch[name][rows], mode="clip")
        frames = {"obs": self._columns["frame"], "new_obs": self._targets["last_frame"]}
        for name, frame in frames.items():
            out = {key: x[rows] for key, x in batch[name].items()}
            self._frames.gather(frame[chosen], out)

    def ids(self) -> np.ndarray:
        """(episode, step) of every transition held, oldest first; shape (n, 2)."""
        order = self._oldest_first()
        return np.stack([self._columns[EPISODE][order], self._columns[STEP][order]], axis=1)

    def sources(self) -> np.ndarray:
        """Code in ``SOURCE_NAMES`` of every transition held, oldest first; shape (n,)."""
        codes: np.ndarray = self._columns[SOURCE][self._oldest_first()]
        return codes

    def _oldest_first(self) -> np.ndarray:
        """Rows of the transitions held."""
        return np.arange(self.count - len(self), self.count) % self.capacity

    def save(self, folder: Path, others: Sequence[Path] = ()) -> None:
        """Write the buffer into an empty folder, sharing frames with ``others`` saved earlier."""
        oldest = self._oldest_frame(np.zeros(0, np.int64), None)
        self._frames.save(folder / "frames", oldest, [other / "frames" for other in others])
        tails = np.array([[e, *t] for e, t in self._tails.items()], np.int64).reshape(-1, 3)
        held = {name: column[: len(self)] for name, column in self._columns.items()}
        columns: dict[str, Any] = {"count": self.count, "tails": tails, **held}
        np.savez(folder / "transitions.npz", **columns)

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: When it was saved with another capacity, action or observation space.
        """
        with np.load(folder / "transitions.npz", allow_pickle=False) as saved:
            count = int(saved["count"])
            if len(saved["rewards"]) != min(count, self.capacity):
                raise ValueError(
                    f"{folder}: was saved with another capacity than {self.capacity}; "
                    "resume with the capacity it was saved with"
                )
            if saved["actions"].shape[1:] != self._columns["actions"].shape[1:]:
                raise ValueError(
                    f"{folder}: holds actions {saved['actions'].shape[1:]}, this environment takes "
                    f"{self._columns['actions'].shape[1:]}"
                )
            self._frames.load(folder / "frames")
            for name, column in self._columns.items():
                column[: len(saved[name])] = saved[name]
            self._tails = {int(e): (int(s), int(f)) for e, s, f in saved["tails"]}
        self.count = count
        for rows in self._runs():
            self._derive(rows)

    def _runs(self) -> Iterator[np.ndarray]:
        """Rows of each maximal run of consecutive steps of one episode."""
        if not len(self):
            return
        episode, step = (self._columns[name][: len(self)] for name in (EPISODE, STEP))
        order = np.lexsort((step, episode))
        gaps = (np.diff(episode[order]) != 0) | (np.diff(step[order]) != 1)
        yield from np.split(order, np.flatnonzero(gaps) + 1)


class HumanInTheLoopReplay:
    """The online buffer R and the demonstration buffer D of RLPD with interventions.

    Every online step goes to R; those that a human executed go to D as well. Demonstrations go to
    D only. Each minibatch holds ``demonstration_fraction`` of D; while D is empty, all of R.
    """

    def __init__(
        self,
        online: ReplayBuffer,
        demonstrations: ReplayBuffer,
        *,
        demonstration_fraction: float,
        seed: int | None,
    ):
        self.online = online
        self.demonstrations = demonstrations
        self.demonstration_fraction = demonstration_fraction
        self._generator = np.random.default_rng(seed)

    def add(self, transitions: Transitions) -> None:
        """Store online steps, and those of the human also as demonstrations."""
        self.online.add(transitions)
        for run in transitions.runs_of(INTERVENTION):
            self.demonstrations.add(run)

    def add_demonstration(self, transitions: Transitions) -> None:
        """Store steps of a recorded demonstration.

        Demonstrations count their episodes below zero, so that they never meet an online one.
        """
        source = np.full(len(transitions), DEMONSTRATION, np.uint8)
        self.demonstrations.add(
            Transitions(
                -1 - transitions.episode,
                transitions.first_step,
                transitions.observations,
                transitions.actions,
                transitions.rewards,
                transitions.terminated,
                source,
            )
        )

    def sample_demonstrations(self, rows: int) -> Batch:
        """Draw rows of the demonstration buffer alone.

        Raises:
            ValueError: When there are no demonstrations.
        """
        batch = self.demonstrations.empty_batch(rows)
        self.demonstrations.sample_into(batch, slice(0, rows), self._generator)
        return batch

    def demonstration_rows(self, batch_size: int) -> int:
        """Rows of D in a minibatch, given what D holds now."""
        if not len(self.demonstrations):
            return 0
        return round(batch_size * self.demonstration_fraction)

    def sample(self, batch_size: int, num_minibatches: int) -> Batch:
        """Draw minibatches, one behind the other, each mixed by ``demonstration_fraction``.

        Returns:
            Numpy columns of ``batch_size * num_minibatches`` rows, in every minibatch first the
            online, then the demonstration rows.
        """
        batch = self.online.empty_batch(batch_size * num_minibatches)
        demonstrations = self.demonstration_rows(batch_size)
        for start in range(0, batch_size * num_minibatches, batch_size):
            middle, stop = start + batch_size - demonstrations, start + batch_size
            if middle > start:
                self.online.sample_into(batch, slice(start, middle), self._generator)
            if stop > middle:
                self.demonstrations.sample_into(batch, slice(middle, stop), self._generator)
        return batch

    def save(self, folder: Path, others: Sequence[Path] = ()) -> None:
        """Write both buffers into an empty folder, sharing frames with ``others`` saved earlier."""
        self.online.save(folder / "online", [other / "online" for other in others])
        self.demonstrations.save(
            folder / "demonstrations", [other / "demonstrations" for other in others]
        )

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote."""
        self.online.load(folder / "online")
        self.demonstrations.load(folder / "demonstrations")

    def random_state(self) -> dict[str, Any]:
        """State of the random stream."""
        return dict(self._generator.bit_generator.state)

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Continue a random stream."""
        self._generator.bit_generator.state = state
