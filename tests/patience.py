"""Deadlines and bounds of real-time tests, stretched where other programs take the cores.

A test in real time waits for what it expects (:func:`wait_until`) instead of sleeping, and holds a
duration to a bound that follows the machine (:func:`stretched`). On an idle machine both are exact.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

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


measure()
MARGIN = min(stretched(0.05), 0.15)
"""How much later than the wire allows virtual servos may answer [s]: they may wait for a core."""
