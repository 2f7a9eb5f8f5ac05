"""A motor's calibration: its position limits, and what the calibration file says about it."""

from __future__ import annotations

from collections.abc import Iterator

from e2hil_rllib.commands.doctor.findings import Found, Level
from e2hil_rllib.commands.doctor.motor import Motor
from envs.hardware.bus.registers import TICKS_PER_TURN
from envs.hardware.setup.calibration import MotorCalibration
from envs.hardware.setup.homing import FULL_TURN

CALIBRATION_STEP = "take this arm's own calibration file, or calibrate anew"

_CALIBRATE = "calibrate the arm: e2hil calibrate"
_TINY = 300  # about 26°, less than any joint of the arm travels [ticks]


def examine_limits(motor: Motor, wanted: MotorCalibration | None) -> Iterator[Found]:
    """Compares a motor with its file, and judges limits that no file explains.

    Args:
        motor: as it was read.
        wanted: its part of the calibration file; None for no file.
    """
    expected = {}
    if wanted is not None:
        expected = {
            "Homing_Offset": wanted.homing_offset,
            "Min_Position_Limit": wanted.range_min,
            "Max_Position_Limit": wanted.range_max,
        }
    differing = {name: value for name, value in expected.items() if motor.held[name] != value}
    for name, value in differing.items():
        what = f"{name} is {motor.held[name]}, the calibration file says {value}"
        yield Level.FAULT, what, CALIBRATION_STEP
    if not differing.keys() & {"Min_Position_Limit", "Max_Position_Limit"}:
        yield from _judge(motor)


def _judge(motor: Motor) -> Iterator[Found]:
    """What is wrong with the limits by themselves."""
    lowest, highest = motor.held["Min_Position_Limit"], motor.held["Max_Position_Limit"]
    held = f"Min_Position_Limit {lowest}, Max_Position_Limit {highest}"
    if lowest == highest:
        what = f"has no position limits ({held}): it can be driven against its end"
        yield Level.NOTE, what, _CALIBRATE
    elif lowest > highest:
        yield Level.FAULT, f"its position limits are the wrong way round ({held})", _CALIBRATE
    elif highest - lowest < _TINY:
        degrees = (highest - lowest) * 360 / TICKS_PER_TURN
        yield Level.FAULT, f"may move by {degrees:.1f}° only ({held})", _CALIBRATE
    elif motor.joint != FULL_TURN and highest - lowest >= TICKS_PER_TURN - 1:
        what = "its position limits are a whole turn, as from the factory: not calibrated"
        yield Level.NOTE, what, _CALIBRATE
