"""Pressed keys, kept until their reader asks for them."""

from collections import deque
from typing import Protocol

from envs.operators.keys import KeyEvent


class KeySource(Protocol):
    """Source of keys; see ``envs.operators.keys.Keys``."""

    @property
    def source(self) -> str:
        """Name of the source, "none" if no keys can come."""
        ...

    def poll(self) -> list[KeyEvent]:
        """Return the events since the last call, without waiting."""
        ...

    def close(self) -> None:
        """Read no more keys."""
        ...


class Pressed:
    """Pressed keys of one source, shared by readers of different events.

    Args:
        keys: Source of keys.
    """

    def __init__(self, keys: KeySource) -> None:
        self._keys = keys
        self._waiting: deque[KeyEvent] = deque(maxlen=100)

    @property
    def any_source(self) -> bool:
        """Whether keys can come at all."""
        return self._keys.source != "none"

    def take(self, *events: KeyEvent) -> KeyEvent | None:
        """Return the oldest pending press of one of these events, None if there is none."""
        self._waiting.extend(self._keys.poll())
        for event in self._waiting:
            if event in events:
                self._waiting.remove(event)
                return event
        return None

    def forget(self, *events: KeyEvent) -> None:
        """Drop the pending presses of these events."""
        while self.take(*events) is not None:
            pass

    def close(self) -> None:
        """Read no more keys."""
        self._keys.close()
