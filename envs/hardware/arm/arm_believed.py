"""Readings of servos that may be acted upon: what comes through damaged is read again."""

import time
from collections.abc import Callable, Sequence

from envs.hardware.bus.plausibility import PlausibilityCheck
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.bus.telemetry import Telemetry
from envs.hardware.errors import BusError

_ATTEMPTS = 5


class DoubtfulReadingError(BusError):
    """What motors say cannot be true, however often they are asked."""

    def __init__(self, port: str, doubts: dict[int, list[str]]):
        motors = "; ".join(f"motor {i}: {', '.join(found)}" for i, found in doubts.items())
        super().__init__(
            f"port {port}, {motors}: no two readings in a row agree, expected at most one damaged "
            "answer in 256. Check the cables and plugs of these motors"
        )


class BelievedReader:
    """Reads servos and believes what follows from the last reading, or what is said twice.

    A damaged answer that passes the checksum is mostly implausible after the last one, and is
    never followed by a second one like it. A true jump is: a joint that was moved while the port
    was away, a sensor that fails. So the very first reading is taken twice as well.
    """

    def __init__(
        self,
        bus: FeetechBus,
        servo_ids: Sequence[int],
        clock: Callable[[], float] = time.monotonic,
    ):
        """Has read nothing yet.

        Args:
            bus: The servos' bus.
            servo_ids: Who is read.
            clock: Gives the time of a reading [s]; may only run forward.
        """
        self._bus = bus
        self._servo_ids = tuple(servo_ids)
        self._clock = clock
        self._believed: PlausibilityCheck | None = None

    def forget(self) -> None:
        """Believe the next reading only when it is confirmed by another."""
        self._believed = None

    def read(self) -> tuple[float, Telemetry]:
        """Return the time of a reading [s], and the reading.

        Raises:
            DoubtfulReadingError: If no two readings in a row agree.
            NoAnswerError: If servos do not answer.
            PortLostError: If the port has gone away.
        """
        previous: PlausibilityCheck | None = None
        doubts: dict[int, list[str]] = {}
        for _ in range(_ATTEMPTS):
            telemetry = self._bus.read_telemetry(self._servo_ids)
            now = self._clock()
            for known in (self._believed, previous):
                if known is not None:
                    found = known.check(telemetry, now)
                    if not found:
                        self._believed = known
                        return now, telemetry
                    doubts |= found
            previous = PlausibilityCheck()
            impossible = previous.check(telemetry, now)
            if impossible:
                doubts |= impossible
                previous = None
        raise DoubtfulReadingError(self._bus.port, doubts)
