"""A control loop's fixed rate."""

import time
from collections.abc import Callable


class FixedRate:
    """Periods that follow each other without drift, as long as whoever uses them keeps up.

    Attributes:
        period: From the end of one period to the end of the next [s].
        overruns: Periods that ended late so far.
        worst_overrun: By how much at most [s].
        pauses: How often whoever uses them has paused in between.
        longest_pause: How late they came after one at most [s].
    """

    def __init__(
        self,
        rate: float,
        pause: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        """Start with the first period.

        Args:
            rate: Periods per second [Hz].
            pause: Whoever comes later than this has not been slow but has paused [s].
            clock: The time [s].
            sleep: Waits for so many seconds.
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
        """Begin a period and return when it ends [s].

        Whoever comes when it should already be over has overrun, and gets a whole one from now.
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
        """Wait for the end of the period."""
        if self._end is None:
            return
        left = self._end - self._clock()
        if left > 0:
            self._sleep(left)
        elif left < 0:
            self._overrun(-left)
            self._end -= left  # the next one begins now, or it would count as late as well

    def restart(self) -> None:
        """Begin the next period whenever somebody asks for it."""
        self._end = None

    def _overrun(self, late: float) -> None:
        self.overruns += 1
        self.worst_overrun = max(self.worst_overrun, late)
