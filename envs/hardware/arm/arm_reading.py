"""Telemetry of an arm in joint angles."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.hardware.arm.arm_believed import BelievedReader
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.bus.telemetry import RADIANS_PER_TICK
from envs.hardware.setup.calibration import Calibration
from envs.kinematics import JOINTS
from envs.safety import ArmReading


@dataclass(frozen=True)
class ArmTelemetry(ArmReading):
    """Telemetry of an arm, in the order of ``envs.kinematics.JOINTS``.

    Attributes:
        ticks: Positions of the servos, shape (6,), 4096 per turn.
        has_current: Whether the servo measures its current, shape (6,); otherwise it reads 0 A.
        faults: Names of the errors that each servo reports, six tuples.
    """

    ticks: NDArray[np.int64]
    has_current: NDArray[np.bool_]
    faults: tuple[tuple[str, ...], ...]

    def fault(self) -> str:
        """Return the reported errors in words, "" if there are none."""
        named = zip(JOINTS, self.faults, strict=True)
        return "; ".join(f"{joint} reports {', '.join(names)}" for joint, names in named if names)


class ArmReader:
    """Reader of an arm's servos that believes only plausible readings."""

    def __init__(
        self,
        bus: FeetechBus,
        calibration: Calibration,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start without a believed reading.

        Args:
            bus: Bus of the servos.
            calibration: Calibration of this arm.
            clock: Clock of the readings [s].
        """
        self._reader = BelievedReader(bus, calibration.ids, clock)
        self._calibration = calibration
        ticks = np.full(len(calibration.ids), 0)
        per_tick = calibration.to_radians(ticks + 1) - calibration.to_radians(ticks)
        # A gripper's radian is the model's, not its servo's, and a joint may turn against it.
        self._gain = per_tick / RADIANS_PER_TICK

    def forget(self) -> None:
        """Believe the next reading only when another one confirms it, as after a lost port."""
        self._reader.forget()

    def read(self) -> ArmTelemetry:
        """Return the current state of the arm.

        Raises:
            DoubtfulReadingError: If no two readings in a row agree.
            NoAnswerError: If servos do not answer.
            PortLostError: If the port has gone away.
        """
        now, servos = self._reader.read()
        direction = np.sign(self._gain)
        return ArmTelemetry(
            time=now,
            positions=self._calibration.to_radians(servos.position_ticks),
            velocities=servos.velocities * self._gain,
            currents=servos.currents * direction,
            temperatures=servos.temperatures,
            voltages=servos.voltages,
            loads=servos.loads * direction,
            ticks=servos.position_ticks,
            has_current=servos.has_current,
            faults=servos.faults,
        )
