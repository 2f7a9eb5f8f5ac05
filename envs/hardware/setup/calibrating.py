"""Calibration of an arm by hand: a recording of its joints that writes nothing itself."""

from collections.abc import Mapping

from envs.hardware.bus.registers import TICKS_PER_TURN
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import NoAnswerError
from envs.hardware.setup.calibration import MotorCalibration
from envs.hardware.setup.homing import FULL_TURN, Progress, Sweep, calibrated, progress

_LARGEST_STEP = 400
"""Largest step between two readings that confirm each other; a hand is slower [ticks]."""


class Calibrating:
    """Recording of every joint's encoder while a person sweeps it; it only reads.

    Attributes:
        lost: Number of cycles in which motors did not answer.
    """

    def __init__(
        self, bus: FeetechBus, ids: Mapping[str, int], nominal_travel: Mapping[str, float]
    ) -> None:
        """Read the offsets of the motors, which their positions include.

        Args:
            bus: Bus of the motors.
            ids: Motor ids by joint name.
            nominal_travel: Travel in the arm's model, by joint name [rad].

        Raises:
            NoAnswerError: If motors do not answer.
            ServoFaultError: If a motor reports an error.
            PortLostError: If the port has gone away.
        """
        self.lost = 0
        self._bus, self._ids, self._nominal = bus, dict(ids), dict(nominal_travel)
        self._offsets = bus.sync_read("Homing_Offset", list(ids.values()))
        self._sweeps = {name: Sweep() for name in ids}
        self._last: dict[str, int] = {}

    def step(self) -> None:
        """Read every joint once; lost answers are counted, not raised.

        A reading counts if it is near the previous one: a damaged packet may pass its checksum.

        Raises:
            ServoFaultError: If a motor reports an error.
            PortLostError: If the port has gone away.
        """
        try:
            positions = self._bus.sync_read("Present_Position", list(self._ids.values()))
        except NoAnswerError:
            self.lost += 1
            return
        for name, motor in self._ids.items():
            encoder = (positions[motor] + self._offsets[motor]) % TICKS_PER_TURN
            before = self._last.get(name)
            self._last[name] = encoder
            if before is None or _distance(encoder, before) > _LARGEST_STEP:
                continue
            if name == FULL_TURN:
                self._sweeps[name] = Sweep()  # its last position is its middle
            self._sweeps[name].add(encoder)

    def progress(self) -> dict[str, Progress]:
        """Return the progress of each joint that has to be swept."""
        return progress(self._sweeps, self._nominal)

    def finish(self) -> dict[str, MotorCalibration]:
        """Return the calibration, by joint name.

        Raises:
            CalibrationError: If joints were not moved far enough, or more than a turn.
        """
        return calibrated(self._sweeps, self._nominal, self._ids)


def _distance(one: int, other: int) -> int:
    """Return the shorter distance between two encoder readings [ticks]."""
    apart = (one - other) % TICKS_PER_TURN
    return min(apart, TICKS_PER_TURN - apart)
