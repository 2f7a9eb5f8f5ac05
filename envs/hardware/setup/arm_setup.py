"""Setup checks: an arm that may move is complete, calibrated and configured."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from envs.hardware.arm.arm_torque import energised, read_all
from envs.hardware.bus.registers import MODEL_NUMBER, REGISTERS, Area
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import NoAnswerError
from envs.hardware.setup.calibration import Calibration

_LOG = logging.getLogger(__name__)

_LATER = 0.2  # [s]

PHASE_MULTI_TURN = 0x10
"""Phase bit of an angle that counts turns; the arm's joints have one turn only."""


@dataclass(frozen=True)
class ArmRegisters:
    """Register values of an arm's motors.

    Attributes:
        every: Values of all motors, by register.
        gripper: Values of the gripper alone, by register.
    """

    every: Mapping[str, int]
    gripper: Mapping[str, int]


_EVERY = {
    "Return_Delay_Time": 0,
    "P_Coefficient": 16,
    "I_Coefficient": 0,
    "Operating_Mode": 0,
    "Maximum_Acceleration": 254,
    "Acceleration": 254,
}

GRIPPER = {"Max_Torque_Limit": 500, "Protection_Current": 250, "Overload_Torque": 25}
"""Registers of the gripper: half the torque, since it burns out when it stalls at full torque."""

FOLLOWER = ArmRegisters(_EVERY | {"D_Coefficient": 32}, GRIPPER)
"""Registers of a follower: quick to answer, and soft enough not to shake."""

LEADER = ArmRegisters(_EVERY | {"D_Coefficient": 16}, {})
"""Registers of a leader: a hand can move it against its torque; its handle closes on nothing."""

_CHANGES_THE_MOTION = ("Phase", "Operating_Mode")


class ArmSetupError(RuntimeError):
    """The arm must not move as it is; the message says what to do."""


class CalibrationMismatchError(ArmSetupError):
    """The calibration file does not match the motors."""


def identify(bus: FeetechBus, calibration: Calibration) -> dict[str, str]:
    """Find all motors of an arm and return their firmware, such as "3.10", by joint.

    Raises:
        ArmSetupError: If joints are missing, or their motors are of another model.
        ServoFaultError: If a motor reports an error.
        PortLostError: If the port has gone away.
    """
    missing, strangers = [], []
    for joint, motor in calibration.motors.items():
        try:
            model = _patiently_pinged(bus, motor.id)
        except NoAnswerError:
            missing.append(f"{joint} (motor {motor.id})")
            continue
        if model != MODEL_NUMBER:
            strangers.append(f"{joint} (motor {motor.id}) is model {model}")
    if missing:
        raise ArmSetupError(
            f"{', '.join(missing)} missing on port {bus.port}, of {len(calibration.ids)} motors: "
            "check the arm's power supply first, then the three-wire cable into the first of "
            "these motors, then their ids"
        )
    if strangers:
        raise ArmSetupError(
            f"port {bus.port}: {', '.join(strangers)}, expected an STS3215 ({MODEL_NUMBER}): "
            "check that this is the arm's port"
        )
    ids = calibration.ids
    major = bus.sync_read("Firmware_Major_Version", ids)
    minor = bus.sync_read("Firmware_Minor_Version", ids)
    return {name: f"{major[m.id]}.{minor[m.id]}" for name, m in calibration.motors.items()}


def _patiently_pinged(bus: FeetechBus, servo_id: int) -> int:
    """Ask a motor for its model, if need be twice, since a busy computer misses answers."""
    try:
        return bus.ping(servo_id)
    except NoAnswerError:
        time.sleep(_LATER)
        return bus.ping(servo_id)


def check_calibration(bus: FeetechBus, calibration: Calibration) -> None:
    """Check a calibration against the motors' registers.

    Raises:
        CalibrationMismatchError: If they differ.
        NoAnswerError: If motors do not answer.
        PortLostError: If the port has gone away.
    """
    differences = []
    for register, wanted in _calibrated(calibration).items():
        found = read_all(bus, register, calibration.ids)
        for joint, motor in calibration.motors.items():
            if found[motor.id] != wanted[motor.id]:
                differences.append(
                    f"{joint} (motor {motor.id}) has {register} {found[motor.id]}, expected "
                    f"{wanted[motor.id]}"
                )
    if differences:
        raise CalibrationMismatchError(
            f"the calibration is not that of the arm on port {bus.port}: {'; '.join(differences)}. "
            "Choose this arm's file; or, if the file is surely this arm's (a motor was replaced or "
            "another program wrote to it), write it to the motors; or calibrate anew"
        )


def write_calibration(bus: FeetechBus, calibration: Calibration) -> None:
    """Write a calibration to the motors, whose torque has to be off, since every angle changes.

    Raises:
        ArmSetupError: If a motor is energised, or does not take a value.
        NoAnswerError: If motors do not answer.
        ServoFaultError: If a motor reports an error.
        PortLostError: If the port has gone away.
    """
    on = energised(bus, calibration.ids)
    if on:
        raise ArmSetupError(
            f"port {bus.port}: {_names(calibration, on)} under torque, and a calibration changes "
            "every angle: support the arm and switch the torque off first"
        )
    for register, wanted in _calibrated(calibration).items():
        _write_where_different(bus, calibration, register, wanted)


def configure(
    bus: FeetechBus, calibration: Calibration, registers: ArmRegisters = FOLLOWER
) -> list[str]:
    """Set the registers of an arm and return the changes, in words.

    EEPROM wears out and is written only where it differs. An energised arm stays energised.

    Raises:
        ArmSetupError: If a motor does not take a value, or an energised one would move.
        NoAnswerError: If motors do not answer.
        ServoFaultError: If a motor reports an error.
        PortLostError: If the port has gone away.
    """
    ids = calibration.ids
    phases = read_all(bus, "Phase", ids)
    wanted = {"Phase": {i: phase & ~PHASE_MULTI_TURN for i, phase in phases.items()}}
    wanted |= {register: dict.fromkeys(ids, value) for register, value in registers.every.items()}
    gripper = calibration.motors["gripper"].id
    wanted |= {register: {gripper: value} for register, value in registers.gripper.items()}
    changes = []
    for register, values in wanted.items():
        changes += _write_where_different(bus, calibration, register, values)
    return changes


def _calibrated(calibration: Calibration) -> dict[str, dict[int, int]]:
    """Return the registers of a calibration: values by motor id, by register."""
    motors = calibration.motors.values()
    return {
        "Homing_Offset": {motor.id: motor.homing_offset for motor in motors},
        "Min_Position_Limit": {motor.id: motor.range_min for motor in motors},
        "Max_Position_Limit": {motor.id: motor.range_max for motor in motors},
    }


def _write_where_different(
    bus: FeetechBus, calibration: Calibration, register: str, wanted: dict[int, int]
) -> list[str]:
    """Set one register of some motors and return the changes, in words."""
    found = read_all(bus, register, list(wanted))
    different = [i for i in wanted if found[i] != wanted[i]]
    if not different:
        return []
    names = _names(calibration, different)
    if register in _CHANGES_THE_MOTION and energised(bus, different):
        raise ArmSetupError(
            f"port {bus.port}: {register} of {names} has to change, and a motor would move by "
            "that as long as its torque is on: support the arm, switch its power off and on, and "
            "connect again"
        )
    for servo_id in different:
        locked = REGISTERS[register].area is Area.EEPROM
        if locked:
            bus.write(servo_id, "Lock", 0)
        bus.write(servo_id, register, wanted[servo_id])
        if locked:
            bus.write(servo_id, "Lock", 1)
    now = read_all(bus, register, different)
    refused = [i for i in different if now[i] != wanted[i]]
    if refused:
        raise ArmSetupError(
            f"port {bus.port}: {_names(calibration, refused)} did not take {register} = "
            f"{wanted[refused[0]]} and holds {now[refused[0]]}: switch the arm's power off and on "
            "and connect again; replace the motor if this returns"
        )
    changes = [
        f"{_names(calibration, [i])}: {register} {found[i]} -> {wanted[i]}" for i in different
    ]
    for change in changes:
        _LOG.info("%s", change)
    return changes


def _names(calibration: Calibration, servo_ids: Iterable[int]) -> str:
    """Return the joints and ids of motors, in words."""
    joints = {motor.id: joint for joint, motor in calibration.motors.items()}
    return ", ".join(f"{joints[i]} (motor {i})" for i in servo_ids)
