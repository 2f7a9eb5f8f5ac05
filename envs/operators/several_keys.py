"""Several sources of keys as one: a keyboard and a pedal, say."""

import contextlib
from collections.abc import Sequence

from envs.operators.keys import KeyEvent
from envs.operators.pressed import KeySource


class SeveralKeys:
    """Takes keys from several sources at the same time.

    It implements ``envs.operators.pressed.KeySource``.

    Args:
        sources: Where keys come from; closed by ``close``, the last one first.
    """

    def __init__(self, sources: Sequence[KeySource]) -> None:
        self._sources = list(sources)

    @property
    def source(self) -> str:
        """Where keys come from, "none" where none of the sources has any (more)."""
        there = [each.source for each in self._sources if each.source != "none"]
        return ", ".join(there) or "none"

    def poll(self) -> list[KeyEvent]:
        """Return what was pressed since the last call, source by source, without waiting."""
        return [event for each in self._sources for event in each.poll()]

    def close(self) -> None:
        """Read no more keys."""
        with contextlib.ExitStack() as stack:
            for each in self._sources:
                stack.callback(each.close)
