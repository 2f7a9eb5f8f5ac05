"""Presses of keys, kept until whoever they are for asks for them."""

from collections import deque
from typing import Protocol

from envs.operators.keys import KeyEvent


class KeySource(Protocol):
    """Where keys come from; see ``envs.operators.keys.Keys``."""

    @property
    def source(self) -> str:
        """What they are read from, "none" where none can come."""
        ...

    def poll(self) -> list[KeyEvent]:
        """Return what was pressed since the last call, without waiting."""
        ...

    def close(self) -> None:
        """Read no more keys."""
        ...


class Pressed:
    """Shares one source of keys among several readers, each of whom wants other ones.

    Args:
        keys: The source.
    """

    def __init__(self, keys: KeySource) -> None:
        self._keys = keys
        self._waiting: deque[KeyEvent] = deque(maxlen=100)

    @property
    def any_source(self) -> bool:
        """Whether keys can come at all."""
        return self._keys.source != "none"

    def take(self, *events: KeyEvent) -> KeyEvent | None:
        """Return the oldest press of one of these that nobody has taken yet."""
        self._waiting.extend(self._keys.poll())
        for event in self._waiting:
            if event in events:
                self._waiting.remove(event)
                return event
        return None

    def forget(self, *events: KeyEvent) -> None:
        """Drop the presses of these that nobody has taken."""
        while self.take(*events) is not None:
            pass

    def close(self) -> None:
        """Read no more keys."""
        self._keys.close()
