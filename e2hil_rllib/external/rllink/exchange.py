"""Where the threads of connections and RLlib's own thread meet: episodes one way, weights back."""

from __future__ import annotations

import threading
import time
from collections import deque

from ray.rllib.env.single_agent_episode import SingleAgentEpisode

_POLL = 0.2  # how often a wait looks whether it should end [s]


class StoppedError(RuntimeError):
    """The exchange is closed: nobody takes episodes or sends weights any more."""


class Exchange:
    """Holds chunks of episodes until they are taken, and the newest state.

    Args:
        capacity: Steps that may wait to be taken. Whoever brings more waits, so that clients that
            are faster than the learner do not fill the memory.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._changed = threading.Condition()
        self._waiting: deque[SingleAgentEpisode] = deque()
        self._steps = 0
        self._state: bytes | None = None
        self._version = 0
        self._stopped = False

    @property
    def version(self) -> int:
        """How often there was a new state."""
        with self._changed:
            return self._version

    def put(self, chunks: list[SingleAgentEpisode]) -> None:
        """Leaves chunks; waits while there are too many already.

        Raises:
            StoppedError: The exchange was closed.
        """
        with self._changed:
            while self._steps >= self._capacity and not self._stopped:
                self._changed.wait(_POLL)
            self._refuse_if_stopped()
            self._waiting.extend(chunks)
            self._steps += sum(len(chunk) for chunk in chunks)
            self._changed.notify_all()

    def take(self, patience: float) -> list[SingleAgentEpisode]:
        """Takes all chunks there are, oldest first; none after waiting so long in vain [s]."""
        end = time.monotonic() + patience
        with self._changed:
            while not self._waiting and not self._stopped:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            chunks = list(self._waiting)
            self._waiting.clear()
            self._steps = 0
            self._changed.notify_all()
            return chunks

    def publish(self, state: bytes) -> None:
        """Makes a state, as it goes on the wire, the newest one."""
        with self._changed:
            self._state = state
            self._version += 1
            self._changed.notify_all()

    def state_after(self, version: int) -> bytes:
        """Returns a state newer than a version; waits for one.

        Raises:
            StoppedError: The exchange was closed before there was one.
        """
        with self._changed:
            while (self._state is None or self._version <= version) and not self._stopped:
                self._changed.wait(_POLL)
            self._refuse_if_stopped()
            assert self._state is not None
            return self._state

    def stop(self) -> None:
        """Ends all waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _refuse_if_stopped(self) -> None:
        if self._stopped:
            raise StoppedError("the server has been stopped")
