"""Homing: calibration from a sweep of the joints, wherever their encoders wrap."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from envs.hardware.bus.registers import TICKS_PER_TURN
from envs.hardware.setup.calibration import (
    LARGEST_OFFSET,
    MIDDLE,
    CalibrationError,
    MotorCalibration,
)
from envs.kinematics import JOINTS

FULL_TURN = "wrist_roll"
"""Joint that turns freely: it is not swept, its range is the whole turn."""

SMALLEST_SHARE = 0.7
"""Share of a joint's nominal travel that a sweep must cover."""

_HALF_TURN = TICKS_PER_TURN // 2


class Sweep:
    """Sweep of one joint: its encoder while a person moves it through its travel.

    The encoder jumps by a whole turn where it wraps. Steps between two readings are shorter than
    half a turn, which tells them apart from that jump: a wrap inside the travel does no harm.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._turns = 0
        self._low = self._high = 0

    def add(self, encoder: int) -> None:
        """Add a reading of the encoder without offset, 0 to 4095 [ticks].

        Raises:
            CalibrationError: If the reading is out of range.
        """
        if not 0 <= encoder < TICKS_PER_TURN:
            raise CalibrationError(f"an encoder reads 0 to {TICKS_PER_TURN - 1}, got {encoder}")
        if self._last is None:
            self._low = self._high = encoder
        elif encoder - self._last > _HALF_TURN:
            self._turns -= 1
        elif self._last - encoder > _HALF_TURN:
            self._turns += 1
        self._last = encoder
        unwrapped = encoder + self._turns * TICKS_PER_TURN
        self._low, self._high = min(self._low, unwrapped), max(self._high, unwrapped)

    @property
    def travel(self) -> int:
        """Travel of the joint so far [ticks]."""
        return self._high - self._low

    @property
    def middle(self) -> int:
        """Unwrapped encoder reading in the middle of the travel [ticks]."""
        return (self._low + self._high) // 2

    @property
    def started(self) -> bool:
        """Whether there has been a reading."""
        return self._last is not None


@dataclass(frozen=True)
class Progress:
    """Progress of a joint's sweep.

    Attributes:
        travel: Travel so far [ticks].
        needed: Least travel that the sweep must cover [ticks].
    """

    travel: int
    needed: int

    @property
    def enough(self) -> bool:
        """Whether the joint has been moved far enough."""
        return self.travel >= self.needed


def homing_offset(middle: int) -> int:
    """Return the offset with which an encoder reading becomes ``MIDDLE`` [ticks].

    The servo reports its encoder minus the offset, modulo a turn. Offsets a turn apart mean the
    same, so that there is always one within ±2047, except for exactly half a turn, where the
    neighbouring value is taken: a tick is 0.09 degrees.
    """
    offset = (middle - MIDDLE + _HALF_TURN) % TICKS_PER_TURN - _HALF_TURN
    return max(offset, -LARGEST_OFFSET)


def progress(
    sweeps: Mapping[str, Sweep], nominal_travel: Mapping[str, float]
) -> dict[str, Progress]:
    """Return the progress of each joint that has to be swept.

    Args:
        sweeps: Sweeps by joint name.
        nominal_travel: Travel in the arm's model, by joint name [rad].
    """
    return {
        name: Progress(
            sweep.travel,
            round(SMALLEST_SHARE * nominal_travel[name] * TICKS_PER_TURN / (2 * np.pi)),
        )
        for name, sweep in sweeps.items()
        if name != FULL_TURN
    }


def calibrated(
    sweeps: Mapping[str, Sweep], nominal_travel: Mapping[str, float], ids: Mapping[str, int]
) -> dict[str, MotorCalibration]:
    """Compute the calibration from sweeps of all joints.

    Args:
        sweeps: Sweeps by joint name; for ``FULL_TURN`` one reading in its middle is enough.
        nominal_travel: Travel in the arm's model, by joint name [rad].
        ids: Motor ids by joint name.

    Returns:
        The motors' calibrations by joint name, in the order of the joints.

    Raises:
        CalibrationError: If a joint was not read, not moved far enough, or farther than a turn;
            the message says which and what to do.
    """
    for name in JOINTS:
        if name not in sweeps or not sweeps[name].started:
            raise CalibrationError(f"{name} was never read: check its cable, then sweep again")
    reached = progress(sweeps, nominal_travel)
    short = {name: each for name, each in reached.items() if not each.enough}
    if short:
        worst = ", ".join(f"{name} {e.travel} of {e.needed} ticks" for name, e in short.items())
        raise CalibrationError(
            f"not moved far enough: {worst}. Move each of them by hand slowly from one end stop to "
            "the other; all the others may stay where they are"
        )
    for name, each in reached.items():
        if each.travel >= TICKS_PER_TURN:
            raise CalibrationError(
                f"{name} was moved by {each.travel} ticks, more than a whole turn: its horn slips, "
                "or readings were lost. Check the horn's screw, then sweep again more slowly"
            )
    return {name: _motor(name, sweeps[name], ids[name]) for name in JOINTS}


def _motor(name: str, sweep: Sweep, motor_id: int) -> MotorCalibration:
    offset = homing_offset(sweep.middle)
    if name == FULL_TURN:
        return MotorCalibration(motor_id, 0, offset, 0, TICKS_PER_TURN - 1)
    half = sweep.travel // 2
    low, high = max(MIDDLE - half, 0), min(MIDDLE + half, TICKS_PER_TURN - 1)
    return MotorCalibration(motor_id, 0, offset, low, high)
