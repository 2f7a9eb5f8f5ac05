"""From a robot's steps to chunks in its spool, without the control loop waiting for the disk."""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from e2hil_rllib.external.protocol.chunk import Chunk
from e2hil_rllib.external.robot.spool import Spool, SpoolError
from e2hil_rllib.networks.observation_encoder import FLAT_KEY

logger = logging.getLogger(__name__)

_BEHIND = 8  # chunks that wait for the disk: it does not keep up
_MOST_WAITING = 64  # chunks
_RETRY = 0.5  # of a disk that takes nothing [s]
_JOIN_PATIENCE = 10.0  # [s]


@dataclass(frozen=True, eq=False)
class Step:
    """One step of an episode.

    Attributes:
        action: What was carried out, in the environment's units, shape (d,).
        reward: For it.
        is_intervention: Whether a human chose it.
        observation: What followed.
    """

    action: np.ndarray
    reward: float
    is_intervention: bool
    observation: Any


@dataclass(frozen=True, eq=False)
class _Part:
    """Steps on their way to the disk."""

    first_step: int
    start: Any
    steps: list[Step]
    terminated: bool
    truncated: bool
    succeed: bool


class Recorder:
    """Takes steps in, and brings them into the spool in chunks, in a thread of its own.

    The newest step is kept back until it is known whether it was the episode's last: an episode
    can be cut off after a step only once the next one has failed. So a kill loses at most
    `chunk_steps` steps and that one.

    Args:
        spool: Where chunks go.
        fps: Steps per second [Hz].
        task: The environment's id.
        chunk_steps: Steps in a chunk.
    """

    def __init__(self, spool: Spool, fps: float, task: str, chunk_steps: int = 10) -> None:
        self._spool, self._fps, self._task = spool, fps, task
        self._chunk_steps = chunk_steps
        self._start: Any = None
        self._steps: list[Step] = []
        self._first_step = 0
        self._waiting: queue.Queue[_Part | None] = queue.Queue(_MOST_WAITING)
        self._fault = self._lost = ""  # why the disk takes nothing now, and why steps are gone
        #: Why nothing more can be recorded at all, "" where nothing is wrong.
        self.failure = ""
        self._closing = threading.Event()
        self._episode = 0
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    @property
    def fault(self) -> str:
        """Why the robot has to pause: the disk takes nothing; "" where nothing is wrong."""
        if self._lost or self._fault:
            return self._lost or self._fault
        if not self._thread.is_alive() and not self._closing.is_set():
            return "the recorder's thread has ended"
        waiting = self._waiting.qsize()
        return f"{waiting} chunks wait for a slow disk" if waiting > _BEHIND else ""

    def begin(self, observation: Any) -> None:
        """An episode begins with an observation; one that has not ended is cut off."""
        self.cut()
        self._start, self._first_step = observation, 0

    def add(self, step: Step) -> None:
        """Takes a step of the episode that runs."""
        self._steps.append(step)
        if len(self._steps) > self._chunk_steps:
            self._pass_on(self._chunk_steps)

    def end(self, *, terminated: bool, succeed: bool) -> None:
        """The episode has ended with the last step.

        Args:
            terminated: By the task; otherwise by something else, as a time limit.
            succeed: Whether the task was solved.
        """
        if self._steps:
            self._pass_on(len(self._steps), terminated, not terminated, succeed)

    def cut(self) -> None:
        """The episode goes no further than its last step; nothing happens where none runs."""
        self.end(terminated=False, succeed=False)

    def close(self) -> bool:
        """Cuts an episode off, and brings all that is left into the spool.

        Returns:
            Whether all of it is there; False if the disk takes nothing.
        """
        self.cut()
        self._closing.set()
        self._waiting.put(None)
        self._thread.join(_JOIN_PATIENCE)
        return not (self._thread.is_alive() or self._lost or self.failure)

    def _pass_on(
        self, count: int, terminated: bool = False, truncated: bool = False, succeed: bool = False
    ) -> None:
        steps, self._steps = self._steps[:count], self._steps[count:]
        part = _Part(self._first_step, self._start, steps, terminated, truncated, succeed)
        self._waiting.put(part)
        self._start = steps[-1].observation
        self._first_step += count

    def _write(self) -> None:
        while (part := self._waiting.get()) is not None:
            while not self._appended(part):
                if self._closing.wait(_RETRY):
                    self._lost = self._fault
                    logger.error("%d steps are lost: %s", len(part.steps), self._fault)
                    break

    def _appended(self, part: _Part) -> bool:
        def make(sequence: int) -> bytes:
            # The first chunk's number names the episode, and is never given again.
            self._episode = sequence if part.first_step == 0 else self._episode
            return self._chunk(part, sequence).to_bytes()

        try:
            self._spool.append(make)
        except SpoolError as error:
            if not self._fault:
                logger.error("the robot has to pause: %s", error)
            self._fault = str(error)
            return False
        except (ValueError, TypeError) as error:
            self.failure = str(error)
            logger.error("steps that cannot be sent were dropped: %s", self.failure)
        except Exception as error:  # whatever it is, the robot has to know
            self.failure = f"a defect of the recorder: {error!r}"
            logger.exception("steps were dropped")
        self._fault = ""
        return True

    def _chunk(self, part: _Part, sequence: int) -> Chunk:
        observations = [part.start, *(step.observation for step in part.steps)]
        named = [o if isinstance(o, dict) else {FLAT_KEY: o} for o in observations]
        for each in named:
            if each.keys() != named[0].keys():
                raise ValueError(
                    f"an observation has the entries {list(each)}, one before it {list(named[0])}"
                )
        return Chunk(
            stream=self._spool.stream,
            sequence=sequence,
            episode=self._episode,
            first_step=part.first_step,
            observations={key: np.stack([o[key] for o in named]) for key in named[0]},
            actions=np.stack([step.action for step in part.steps]).astype(np.float32),
            rewards=np.array([step.reward for step in part.steps], np.float32),
            is_intervention=np.array([step.is_intervention for step in part.steps], bool),
            terminated=part.terminated,
            truncated=part.truncated,
            succeed=part.succeed,
            fps=self._fps,
            task=self._task,
        )
