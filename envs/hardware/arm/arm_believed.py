"""Believed readings of servos: implausible ones are read again."""

import time
from collections.abc import Callable, Sequence

from envs.hardware.bus.plausibility import PlausibilityCheck
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.bus.telemetry import Telemetry
from envs.hardware.errors import BusError

_ATTEMPTS = 5


class DoubtfulReadingError(BusError):
    """Motors report implausible values on every attempt."""

    def __init__(self, port: str, doubts: dict[int, list[str]]):
        motors = "; ".join(f"motor {i}: {', '.join(found)}" for i, found in doubts.items())
        super().__init__(
            f"port {port}, {motors}: no two readings in a row agree, expected at most one damaged "
            "answer in 256. Check the cables and plugs of these motors"
        )


class BelievedReader:
    """Reader of servos that believes what follows from the last reading, or what is read twice.

    A damaged answer that passes the checksum is mostly implausible after the last one, and never
    repeated. A true jump is repeated: a joint that was moved while the port was away, a sensor that
    fails. The very first reading is taken twice for the same reason.
    """

    def __init__(
        self,
        bus: FeetechBus,
        servo_ids: Sequence[int],
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start without a believed reading.

        Args:
            bus: Bus of the servos.
            servo_ids: Ids of the servos to read.
            clock: Monotonic clock of the readings [s].
        """
        self._bus = bus
        self._servo_ids = tuple(servo_ids)
        self._clock = clock
        self._believed: PlausibilityCheck | None = None

    def forget(self) -> None:
        """Believe the next reading only when another one confirms it."""
        self._believed = None

    def read(self) -> tuple[float, Telemetry]:
        """Return the time of a reading [s] and the reading.

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
