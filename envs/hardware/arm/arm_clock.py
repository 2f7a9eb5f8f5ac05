"""Fixed rate of a control loop."""

import time
from collections.abc import Callable


class FixedRate:
    """Periods that follow each other without drift, as long as the caller keeps up.

    Attributes:
        period: Length of a period [s].
        overruns: Number of periods that ended late so far.
        worst_overrun: Largest delay of a period's end [s].
        pauses: Number of pauses of the caller.
        longest_pause: Largest delay after a pause [s].
    """

    def __init__(
        self,
        rate: float,
        pause: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        """Wait for the first ``begin``.

        Args:
            rate: Number of periods per second [Hz].
            pause: Delay beyond which the caller counts as paused, not as slow [s].
            clock: Function that returns the time [s].
            sleep: Function that waits for a number of seconds.
        """
        self.period = 1.0 / rate
        self.overruns = 0
        self.worst_overrun = 0.0
        self.pauses = 0
        self.longest_pause = 0.0
        self._pause = pause
        self._clock = clock
        self._sleep = sleep
        self._end: float | None = None

    def begin(self) -> float:
        """Begin a period and return the time of its end [s].

        A caller that comes after that time has overrun, and gets a whole period from now.
        """
        now = self._clock()
        end = None if self._end is None else self._end + self.period
        if end is None:
            end = now + self.period
        elif now - end > self._pause:
            self.pauses += 1
            self.longest_pause = max(self.longest_pause, now - end)
            end = now + self.period
        elif now >= end:
            self._overrun(now - end)
            end = now + self.period
        self._end = end
        return end

    def wait(self) -> None:
        """Wait until the end of the period."""
        if self._end is None:
            return
        left = self._end - self._clock()
        if left > 0:
            self._sleep(left)
        elif left < 0:
            self._overrun(-left)
            self._end -= left  # the next period begins now, or it would count as late as well

    def restart(self) -> None:
        """Let the next period begin whenever ``begin`` is called."""
        self._end = None

    def _overrun(self, late: float) -> None:
        self.overruns += 1
        self.worst_overrun = max(self.worst_overrun, late)
