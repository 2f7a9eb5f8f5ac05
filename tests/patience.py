"""Real-time tests on a machine that has other work.

A test in real time waits for what it expects (:func:`wait_until`) instead of sleeping, and holds a
duration to a bound that follows the machine (:func:`stretched`). On an idle machine both are exact.
It runs before other work where that is allowed (:func:`urgent`). What a virtual arm cannot do
without a core it still cannot: a test that fails while its threads demonstrably had none
(:class:`Starvation`) says nothing about the code and is run again (tests/conftest.py).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

VARIABLE = "E2HIL_TEST_PATIENCE"
"""Environment variable that sets the factor instead of measuring it."""
LARGEST = 10.0
_MEASURED_FOR = 0.1  # [s]
_VALID_FOR = 20.0  # [s]: the load of a machine that tests share changes all the time

_factor, _measured_at = 1.0, float("-inf")


def measure() -> None:
    """Measure the factor where the last measurement is old; computes for a tenth of a second.

    Called before each real-time test (tests/conftest.py), never in it: what is measured would
    take its time from the test's threads.
    """
    global _factor, _measured_at
    if VARIABLE in os.environ:
        _factor = float(os.environ[VARIABLE])
    elif time.monotonic() - _measured_at > _VALID_FOR:
        per_core = os.getloadavg()[0] / (os.cpu_count() or 1)
        _factor = min(max(1.0, per_core, _slowed_by()), LARGEST)
        _measured_at = time.monotonic()


def _slowed_by() -> float:
    """Return the ratio of real time to processor time of a thread that computes."""
    begun, used = time.monotonic(), time.thread_time()
    while (passed := time.monotonic() - begun) < _MEASURED_FOR:
        pass
    return passed / max(time.thread_time() - used, 1e-3)


def stretched(seconds: float) -> float:
    """Return a bound for something that takes at most ``seconds`` on an idle machine [s]."""
    return seconds * _factor


def wait_until(
    condition: Callable[[], object],
    seconds: float = 20.0,
    what: str = "it did not come true in time",
) -> float:
    """Wait for a condition.

    Args:
        condition: Called again and again until what it returns is true.
        seconds: Deadline on an idle machine [s].
        what: Message of the failure.

    Returns:
        When it came true, on the monotonic clock [s].

    Raises:
        AssertionError: The deadline has passed.
    """
    end = time.monotonic() + stretched(seconds)
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return time.monotonic()


@contextlib.contextmanager
def urgent() -> Iterator[None]:
    """Let this thread, and all that it starts meanwhile, run before other work if that is allowed.

    On a real robot nothing takes the cores of servos and control loop away.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, before - 10)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


class Starvation:
    """Notes how late a thread of this process wakes up, which others did at the same time.

    Attributes:
        longest: Longest delay so far [s].
    """

    TOO_LONG = 0.05
    """A virtual arm misses control periods and answers then [s]."""
    _PERIOD = 0.01  # [s]

    def __enter__(self) -> Starvation:
        """Begin to watch."""
        self.longest = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="starvation", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End to watch."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        begun = time.monotonic()
        while not self._ended.wait(self._PERIOD):
            now = time.monotonic()
            self.longest = max(self.longest, now - begun - self._PERIOD)
            begun = now


measure()
MARGIN = min(stretched(0.05), 0.1)
"""How much later than the wire allows virtual servos may answer [s]: they may wait for a core."""
