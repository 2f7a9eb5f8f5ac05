"""Calibration of an SO101: LeRobot's file format, and conversion between ticks and radians."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.hardware.bus.registers import TICKS_PER_TURN
from envs.kinematics import JOINTS

MIDDLE = 2047
"""Position at the middle of a joint's travel after homing [ticks]."""

LARGEST_OFFSET = 2047
"""Largest magnitude of the servo's Homing_Offset [ticks]."""

_HIGHEST = TICKS_PER_TURN - 1
_RADIANS_PER_TICK = 2 * np.pi / TICKS_PER_TURN
_FOLDER = Path(".cache/huggingface/lerobot/calibration")
_GRIPPER = JOINTS.index("gripper")


class CalibrationError(ValueError):
    """The calibration cannot be read or used; the message says why and what to do."""


@dataclass(frozen=True)
class MotorCalibration:
    """Calibration of one motor, as LeRobot writes it.

    Attributes:
        id: Id on the bus.
        drive_mode: 1 where the joint turns against its servo.
        homing_offset: Offset that the servo subtracts from its encoder [ticks].
        range_min: Lowest position [ticks].
        range_max: Highest position [ticks].
    """

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int


class Calibration:
    """Calibration of six motors, which converts between ticks and joint angles.

    A joint's zero is the middle of its range, as in the arm's model. The gripper's range is mapped
    onto the model's, closed to open, since its zero is not the middle.

    Args:
        motors: Calibration of each motor, by joint name.
        joint_limits: Lowest and highest angles of the model, each of shape (6,) [rad].
        source: Origin of the calibration, for errors.

    Raises:
        CalibrationError: If a joint is missing, an id appears twice, or a number is out of range.
    """

    def __init__(
        self,
        motors: Mapping[str, MotorCalibration],
        joint_limits: tuple[NDArray[np.float64], NDArray[np.float64]],
        source: str = "the calibration",
    ) -> None:
        for name in JOINTS:
            if name not in motors:
                raise CalibrationError(
                    f"{source} lacks the joint {name!r}; it needs {list(JOINTS)}. Calibrate anew."
                )
            _check(name, motors[name], source)
        ids = [motors[name].id for name in JOINTS]
        if len(set(ids)) != len(ids):
            raise CalibrationError(f"{source}: the ids {ids} are not all different")
        self.motors = {name: motors[name] for name in JOINTS}
        low = np.array([m.range_min for m in self.motors.values()], np.float64)
        high = np.array([m.range_max for m in self.motors.values()], np.float64)
        self._low, self._high = low, high
        self._zero = (low + high) / 2
        self._scale = np.full(len(JOINTS), _RADIANS_PER_TICK)
        closed, opened = joint_limits[0][_GRIPPER], joint_limits[1][_GRIPPER]
        self._scale[_GRIPPER] = (opened - closed) / (high[_GRIPPER] - low[_GRIPPER])
        reverse = np.array([m.drive_mode for m in self.motors.values()], bool)
        self._scale[reverse] *= -1
        end = high if reverse[_GRIPPER] else low
        self._zero[_GRIPPER] = end[_GRIPPER] - closed / self._scale[_GRIPPER]

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids on the bus in the order of the joints."""
        return tuple(motor.id for motor in self.motors.values())

    def to_radians(self, ticks: ArrayLike) -> NDArray[np.float64]:
        """Convert positions, shape (6,) [ticks], to joint angles [rad]."""
        angles: NDArray[np.float64] = (np.asarray(ticks, np.float64) - self._zero) * self._scale
        return angles

    def to_ticks(self, angles: ArrayLike) -> NDArray[np.int64]:
        """Convert joint angles, shape (6,) [rad], to positions in each motor's range [ticks]."""
        ticks = np.asarray(angles, np.float64) / self._scale + self._zero
        return np.clip(np.rint(ticks), self._low, self._high).astype(np.int64)

    def save(self, path: Path) -> None:
        """Write LeRobot's JSON; an earlier file stays until the new one is complete."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.tmp")
        text = json.dumps({name: asdict(motor) for name, motor in self.motors.items()}, indent=4)
        with beside.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


def calibration_path(kind: str, name: str, identifier: str, home: Path | None = None) -> Path:
    """Return the path at which LeRobot keeps a calibration.

    Args:
        kind: "robots" for a follower, "teleoperators" for a leader.
        name: Name of the device's type, e.g. "so101_follower" or "so_follower".
        identifier: User's own name of the arm.
        home: User's home folder; None asks the system.
    """
    return (home or Path.home()) / _FOLDER / kind / name / f"{identifier}.json"


def read_calibration(
    path: Path, joint_limits: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> Calibration:
    """Read LeRobot's JSON.

    Raises:
        CalibrationError: If the file is missing or holds no calibration; the message names the
            file and the joint at fault.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CalibrationError(
            f"there is no calibration {path}: calibrate the arm first, or copy the file of this "
            "arm there"
        ) from error
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path} cannot be read: {error}. Calibrate anew.") from error
    if not isinstance(content, dict):
        raise CalibrationError(f"{path}: expected joints by name, found a {type(content).__name__}")
    motors = {name: _motor(entry, f"{path}, {name}") for name, entry in content.items()}
    return Calibration(motors, joint_limits, str(path))


def _motor(entry: Any, where: str) -> MotorCalibration:
    names = [field.name for field in fields(MotorCalibration)]
    if not isinstance(entry, dict) or sorted(entry) != sorted(names):
        found = sorted(entry) if isinstance(entry, dict) else entry
        raise CalibrationError(f"{where}: expected the entries {names}, found {found}")
    for name in names:
        if type(entry[name]) is not int:
            raise CalibrationError(f"{where}: {name} is {entry[name]!r}, expected a whole number")
    return MotorCalibration(**entry)


def _check(name: str, motor: MotorCalibration, source: str) -> None:
    def refuse(what: str) -> None:
        raise CalibrationError(f"{source}, {name}: {what}. Calibrate anew.")

    if not 0 <= motor.id <= 252:
        refuse(f"id is {motor.id}, expected 0 to 252")
    if motor.drive_mode not in (0, 1):
        refuse(f"drive_mode is {motor.drive_mode}, expected 0 or 1")
    if abs(motor.homing_offset) > LARGEST_OFFSET:
        refuse(
            f"homing_offset is {motor.homing_offset}, the servo holds -{LARGEST_OFFSET} to "
            f"{LARGEST_OFFSET}"
        )
    if not 0 <= motor.range_min < motor.range_max <= _HIGHEST:
        refuse(
            f"range_min {motor.range_min} and range_max {motor.range_max} are no range within 0 "
            f"to {_HIGHEST}"
        )
