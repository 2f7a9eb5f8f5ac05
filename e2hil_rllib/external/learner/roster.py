"""Which robots deliver to a learner, and what they are doing."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Robot:
    """A robot that has said hello since the learner's process began.

    Attributes:
        stream: Id of its recording.
        connected: Whether its connection stands.
        paused: Whether the person there has paused it.
        stopped: Whether the person there has ended the session.
        waiting: Chunks in its spool.
        version: Of the policy that it acts with.
    """

    stream: str
    connected: bool = True
    paused: bool = False
    stopped: bool = False
    waiting: int = 0
    version: int = 0


class Roster:
    """Keeps what each robot said last; any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._robots: dict[str, Robot] = {}
        self._connections: dict[str, int] = {}

    def enter(self, stream: str) -> int:
        """A robot has connected; returns a number of its connection for `leave`."""
        with self._lock:
            self._robots[stream] = Robot(stream)
            self._connections[stream] = self._connections.get(stream, 0) + 1
            return self._connections[stream]

    def report(
        self, stream: str, *, paused: bool, stopped: bool, waiting: int, version: int
    ) -> None:
        """A robot says how it is doing."""
        with self._lock:
            self._robots[stream] = Robot(stream, True, paused, stopped, waiting, version)

    def leave(self, stream: str, connection: int) -> None:
        """A connection has ended; nothing happens if the robot has a newer one."""
        with self._lock:
            if self._connections.get(stream) == connection:
                self._robots[stream] = replace(self._robots[stream], connected=False)

    def robots(self) -> list[Robot]:
        """All of them, in the order in which they came first."""
        with self._lock:
            return list(self._robots.values())
