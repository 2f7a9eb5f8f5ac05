"""Servos of an arm in joint angles, across lost packets and lost ports."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from envs.hardware.arm import arm_torque
from envs.hardware.arm.arm_believed import DoubtfulReadingError
from envs.hardware.arm.arm_reading import ArmReader, ArmTelemetry
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.bus.transactions import BusCounters
from envs.hardware.errors import BusError, NoAnswerError, PortLostError
from envs.hardware.setup import arm_setup
from envs.hardware.setup.calibration import Calibration

_LOG = logging.getLogger(__name__)


class ArmUnreadableError(BusError):
    """Readings of motors have failed for longer than the patience; the arm holds."""


class ArmLink:
    """Link to the servos of one arm.

    Attributes:
        lost: Whether the port is lost; every use raises ``PortLostError`` until ``reopen``.
        newest: Last believed reading; None before the first.
        failed_readings: Number of readings that failed so far, after all repetitions.
    """

    def __init__(
        self,
        bus: FeetechBus,
        calibration: Calibration,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        registers: arm_setup.ArmRegisters = arm_setup.FOLLOWER,
    ):
        """Take over a bus without sending anything.

        Args:
            bus: Bus of the arm.
            calibration: Calibration of this arm.
            patience: Longest time that readings may fail [s].
            clock: Function that returns the time [s].
            sleep: Function that waits for a number of seconds.
            registers: Register values of its motors.
        """
        self.lost = False
        self.newest: ArmTelemetry | None = None
        self.failed_readings = 0
        self._bus = bus
        self._calibration = calibration
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._reader = ArmReader(bus, calibration, clock)
        self._registers = registers
        self._allowed = dict.fromkeys(calibration.ids, 1000)

    @property
    def port(self) -> str:
        """Path of the port."""
        return self._bus.port

    @property
    def counters(self) -> BusCounters:
        """Counters of what has happened on the bus."""
        return self._bus.counters

    def identify(self) -> dict[str, str]:
        """Check that this is the calibrated arm and return its firmware; see ``arm_setup``."""
        with self._port():
            firmware = arm_setup.identify(self._bus, self._calibration)
            arm_setup.check_calibration(self._bus, self._calibration)
            return firmware

    def configure(self) -> list[str]:
        """Set the motors' registers and return the changes; see ``arm_setup``."""
        with self._port():
            return arm_setup.configure(self._bus, self._calibration, self._registers)

    def energised(self) -> bool:
        """Return whether the torque of any motor is on."""
        with self._port():
            return bool(arm_torque.energised(self._bus, self._calibration.ids))

    def read(self) -> ArmTelemetry:
        """Return the current state.

        Raises:
            DoubtfulReadingError: If no two readings in a row agree.
            NoAnswerError: If motors do not answer.
            PortLostError: If the port has gone away.
        """
        with self._port():
            self.newest = self._reader.read()
            return self.newest

    def read_patiently(self) -> ArmTelemetry:
        """Return the current state, or the last one as long as the patience lasts.

        Raises:
            ArmUnreadableError: If the patience is exceeded.
            PortLostError: If the port has gone away.
        """
        try:
            return self.read()
        except (NoAnswerError, DoubtfulReadingError) as error:
            self.failed_readings += 1
            age = np.inf if self.newest is None else self._clock() - self.newest.time
            if self.newest is None or age > self._patience:
                raise ArmUnreadableError(
                    f"the arm on port {self.port} has not been read for {age:.1f} s, expected a "
                    f"reading every {self._patience:g} s at least ({self._joints(error)}{error})"
                ) from error
            _LOG.warning("reading of %.2f s ago stands in: %s", age, error)
            return self.newest

    def read_unless_newer(self, age: float) -> ArmTelemetry:
        """Return the last reading if it is newer than an age [s], else read patiently."""
        if self.newest is not None and self._clock() - self.newest.time < age:
            return self.newest
        return self.read_patiently()

    def send(self, joint_targets: NDArray[np.float64]) -> None:
        """Make joint angles, shape (6,) [rad], the goals, without confirmation."""
        ticks = self._calibration.to_ticks(joint_targets)
        with self._port():
            self._bus.sync_write("Goal_Position", self._by_id(ticks))

    def hold(self) -> ArmTelemetry:
        """Make the current position the goal, and return it."""
        reading = self.read()
        with self._port():
            arm_torque.hold(self._bus, self._by_id(reading.ticks))
        return reading

    def switch_on(self, share: float = 1.0) -> ArmTelemetry:
        """Switch the torque on where the arm is, and return that state.

        Args:
            share: Share of the torque that the motors' EEPROM allows.
        """
        reading = self.read()
        with self._port():
            self._allowed = arm_torque.switch_on(self._bus, self._by_id(reading.ticks), share)
        return reading

    def limit_torque(self, share: float) -> None:
        """Limit the torque, which is on, to a share of what the EEPROM allows, unconfirmed."""
        with self._port():
            limits = {i: int(share * allowed) for i, allowed in self._allowed.items()}
            self._bus.sync_write("Torque_Limit", limits)

    def ramp_down(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Lower the torque evenly to zero within seconds, calling ``meanwhile`` on the way."""

        def sleep(duration: float) -> None:
            meanwhile()
            self._sleep(duration)

        with self._port():
            ids = self._calibration.ids
            arm_torque.ramp_down(self._bus, ids, seconds, self._clock, sleep)

    def release(self) -> None:
        """Switch the torque off at once."""
        with self._port():
            arm_torque.release(self._bus, self._calibration.ids)

    def release_faulty(self) -> None:
        """Switch off the torque of servos that report an error, which clears the error."""
        reading = self.read()
        named = zip(self._calibration.ids, reading.faults, strict=True)
        faulty = {servo_id: 0 for servo_id, faults in named if faults}
        with self._port():
            arm_torque.write_all(self._bus, "Torque_Enable", faulty)

    def reopen(self, torque_on: bool) -> ArmTelemetry:
        """Reopen a lost port: read the state, then hold or release the arm.

        Args:
            torque_on: Whether to hold the arm where it is; otherwise the torque is switched off.

        Raises:
            BusError: If the port or motors are still missing.
        """
        self.lost = True
        self._bus.reopen()
        self._reader.forget()
        reading = self.switch_on() if torque_on else self.read()
        if not torque_on:
            self.release()
        self.configure()  # without power the motors have forgotten what is not in their EEPROM
        self.lost = False
        return reading

    def close(self) -> None:
        """Close the port. The servos keep their goals."""
        self._bus.close()

    def _by_id(self, ticks: NDArray[np.int64]) -> dict[int, int]:
        return {i: int(tick) for i, tick in zip(self._calibration.ids, ticks, strict=True)}

    def _joints(self, error: BusError) -> str:
        """Name the joints of the motors that do not answer."""
        if not isinstance(error, NoAnswerError):
            return ""
        joints = {motor.id: joint for joint, motor in self._calibration.motors.items()}
        return f"{', '.join(joints[i] for i in error.servo_ids)}: "

    @contextlib.contextmanager
    def _port(self) -> Iterator[None]:
        """Record the loss of the port."""
        try:
            yield
        except PortLostError:
            self.lost = True
            raise
