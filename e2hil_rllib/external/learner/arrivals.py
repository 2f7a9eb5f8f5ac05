"""From chunks in an inbox to steps of episodes, in order, with each episode's end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from e2hil_rllib.external.learner.inbox import Inbox
from e2hil_rllib.external.protocol.chunk import Chunk

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Arrival:
    """Steps that have arrived, or the news that an episode has ended with those before.

    Attributes:
        origin: Names the episode among all of all robots, `stream/episode/first step`.
        stream: Id of the robot's recording.
        sequence: Last chunk that the episode holds so far.
        chunk: The steps; None where nothing more comes, since the robot was restarted or a chunk
            is lost: the episode was cut off after the steps before.
    """

    origin: str
    stream: str
    sequence: int
    chunk: Chunk | None

    @property
    def ends_episode(self) -> bool:
        """Whether nothing more of the episode comes."""
        return self.chunk is None or self.chunk.ends_episode


@dataclass
class _Place:
    """How far a stream was read."""

    following: int = 0
    """Number of the chunk to read next."""
    origin: str = ""
    """Of the episode that has begun and not ended; "" where there is none."""
    episode: int = 0
    step: int = 0
    """The episode's next step."""


class Arrivals:
    """Reads all streams of an inbox from their first unfinished chunk on.

    Another object reads the same from the same inbox, so that a new process begins again with the
    episodes that were not finished, from their first step.

    Args:
        inbox: Where the chunks come.
        check: Raises ValueError for a chunk that this learner cannot learn from.
    """

    def __init__(self, inbox: Inbox, check: Callable[[Chunk], None]) -> None:
        self._inbox, self._check = inbox, check
        self._places: dict[str, _Place] = {}

    def take(self, most_steps: int) -> list[Arrival]:
        """Takes what has come since the last call, of each stream in order.

        Args:
            most_steps: Stop with the chunk that reaches so many steps; the rest comes next time.

        Raises:
            OSError: The disk does not give a file.
            WriteError: A file is damaged and the disk is full.
        """
        taken: list[Arrival] = []
        steps = 0
        for stream in self._inbox.streams():
            place = self._places.setdefault(stream, _Place())
            for sequence, data in self._inbox.chunks(stream, place.following):
                for arrival in self._arrivals(stream, sequence, data, place):
                    taken.append(arrival)
                    steps += arrival.chunk.num_steps if arrival.chunk else 0
                place.following = sequence + 1
                if steps >= most_steps:
                    return taken
        return taken

    def _arrivals(
        self, stream: str, sequence: int, data: bytes, place: _Place
    ) -> Iterator[Arrival]:
        try:
            chunk = Chunk.from_bytes(data)
            self._check(chunk)
        except ValueError as error:
            # It cannot come right by itself, and must not hold up those after it.
            logger.error("Chunk %d of the recording %s is left out: %s", sequence, stream, error)
            return
        goes_on = (chunk.episode, chunk.first_step) == (place.episode, place.step)
        if place.origin and not goes_on:
            yield Arrival(place.origin, stream, sequence - 1, None)
            place.origin = ""
        if not place.origin:
            place.origin = f"{stream}/{chunk.episode}/{chunk.first_step}"
        yield Arrival(place.origin, stream, sequence, chunk)
        place.episode, place.step = chunk.episode, chunk.first_step + chunk.num_steps
        if chunk.ends_episode:
            place.origin = ""
