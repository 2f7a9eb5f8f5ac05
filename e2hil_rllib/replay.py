"""Replay: columnar, seeded, and half online, half demonstrations where there is a human."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e2hil_rllib.frames import FrameStore
from e2hil_rllib.segments import DEMONSTRATION, INTERVENTION, SOURCE_NAMES, Segment

__all__ = ["EPISODE", "SOURCE", "SOURCE_NAMES", "STEP", "HumanInTheLoopReplay", "ReplayBuffer"]

#: Name of the batch column that says where a transition came from.
SOURCE = "source"
#: Names of the batch columns that say where a transition's frames lie on disk.
EPISODE, STEP = "episode", "step"
Batch = dict[str, Any]


class ReplayBuffer:
    """The newest ``capacity`` transitions, their frames stored once.

    A transition holds the numbers of its two frames. The next frame of a step is the one that
    followed it in its own segment, whatever was added in between.
    """

    def __init__(
        self,
        capacity: int,
        shapes: Mapping[str, tuple[int, ...]],
        dtypes: Mapping[str, np.dtype],
        action_size: int,
    ):
        if capacity < 1:
            raise ValueError(f"capacity={capacity}: a replay buffer holds at least 1 transition")
        self.capacity = capacity
        self.action_size = action_size
        # One frame more for every segment: a sixteenth is room for segments of sixteen steps.
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
        #: Transitions ever added.
        self.count = 0
        # Last frame of each episode that may go on: episode -> (its step, its frame).
        self._tails: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    def add(self, segment: Segment) -> None:
        """Append the steps of a segment; of one longer than the buffer, its newest steps."""
        if len(segment) > self.capacity:
            segment = segment.part(len(segment) - self.capacity, len(segment))
        steps = len(segment)
        if steps == 0:
            return
        self.count += steps
        rows = np.arange(self.count - steps, self.count) % self.capacity
        frames = self._add_frames(segment, rows)
        columns = self._columns
        columns["frame"][rows] = frames[:-1]
        columns["next_frame"][rows] = frames[1:]
        columns["actions"][rows] = segment.actions
        columns["rewards"][rows] = segment.rewards
        columns["terminateds"][rows] = segment.terminated
        columns[SOURCE][rows] = segment.source
        columns[EPISODE][rows] = segment.episode
        columns[STEP][rows] = segment.first_step + np.arange(steps)
        self._tails[segment.episode] = (segment.first_step + steps, int(frames[-1]))

    def _add_frames(self, segment: Segment, rows: np.ndarray) -> np.ndarray:
        """Store the frames of a segment that are not there yet; returns all T + 1 numbers."""
        step, tail = self._tails.get(segment.episode, (-1, -1))
        continues = step == segment.first_step and self._frames.holds(tail)
        oldest = self._oldest_frame(rows, tail if continues else None)
        new = {k: x[1:] if continues else x for k, x in segment.observations.items()}
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
        names = ("actions", "rewards", "terminateds", SOURCE, EPISODE, STEP)
        columns = {
            name: np.empty((rows, *self._columns[name].shape[1:]), self._columns[name].dtype)
            for name in names
        }
        return columns | {"obs": self._frames.empty(rows), "new_obs": self._frames.empty(rows)}

    def sample_into(self, batch: Batch, rows: slice, generator: np.random.Generator) -> None:
        """Fill rows of a batch with transitions drawn uniformly, with replacement.

        Raises:
            ValueError: When the buffer is empty.
        """
        if not len(self):
            raise ValueError("cannot sample from an empty replay buffer")
        chosen = generator.integers(0, len(self), rows.stop - rows.start)
        for name, column in batch.items():
            if name not in ("obs", "new_obs"):
                np.take(self._columns[name], chosen, axis=0, out=column[rows], mode="clip")
        for name, frame in (("obs", "frame"), ("new_obs", "next_frame")):
            out = {key: x[rows] for key, x in batch[name].items()}
            self._frames.gather(self._columns[frame][chosen], out)

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

    def add(self, segment: Segment) -> None:
        """Store online steps, and those of the human also as demonstrations."""
        self.online.add(segment)
        for run in segment.runs_of(INTERVENTION):
            self.demonstrations.add(run)

    def add_demonstration(self, segment: Segment) -> None:
        """Store steps of a recorded demonstration.

        Demonstrations count their episodes below zero, so that they never meet an online one.
        """
        source = np.full(len(segment), DEMONSTRATION, np.uint8)
        self.demonstrations.add(
            Segment(
                -1 - segment.episode,
                segment.first_step,
                segment.observations,
                segment.actions,
                segment.rewards,
                segment.terminated,
                source,
            )
        )

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
