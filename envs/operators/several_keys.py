"""Several sources of keys as one, such as a keyboard and a pedal."""

import contextlib
from collections.abc import Sequence

from envs.operators.keys import KeyEvent
from envs.operators.pressed import KeySource


class SeveralKeys:
    """Keys from several sources at the same time.

    It implements ``envs.operators.pressed.KeySource``.

    Args:
        sources: Sources of keys; closed by ``close``, the last one first.
    """

    def __init__(self, sources: Sequence[KeySource]) -> None:
        self._sources = list(sources)

    @property
    def source(self) -> str:
        """Names of the sources, "none" if no keys can come (any more)."""
        there = [each.source for each in self._sources if each.source != "none"]
        return ", ".join(there) or "none"

    def poll(self) -> list[KeyEvent]:
        """Return the events since the last call, source by source, without waiting."""
        return [event for each in self._sources for event in each.poll()]

    def close(self) -> None:
        """Read no more keys."""
        with contextlib.ExitStack() as stack:
            for each in self._sources:
                stack.callback(each.close)
