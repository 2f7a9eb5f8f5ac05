"""How much memory something takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable


def peak_memory(action: Callable[[], object], attempts: int = 3) -> int:
    """Return how much is allocated at most while something is done [bytes].

    Threads that other tests have left in the process allocate as well, now and then: the least of
    some attempts is the action's own.
    """
    return min(_peak(action) for _ in range(attempts))


def _peak(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
