"""An arm from end to end: its calibration file, each motor, all of them together, the line."""

from __future__ import annotations

import contextlib
from pathlib import Path

from e2hil_rllib.commands.doctor.findings import Finding, Level
from e2hil_rllib.commands.doctor.limits import CALIBRATION_STEP
from e2hil_rllib.commands.doctor.line import LINE_STEP, examine_line
from e2hil_rllib.commands.doctor.missing import at_other_rates, missing, strangers
from e2hil_rllib.commands.doctor.motor import Motor, read_motors
from e2hil_rllib.commands.doctor.motor_checks import examine_motor
from e2hil_rllib.commands.doctor.ports import PERMISSION_STEP
from e2hil_rllib.commands.doctor.together import examine_together
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import NoAnswerError, PortLostError
from envs.hardware.setup.calibration import Calibration, CalibrationError, read_calibration
from envs.kinematics import JOINTS, Kinematics

_SECONDS = 1.0  # of measuring the line
_RETRIES = 5  # a bad line is to be measured, not to hide what else is wrong
_PORT_STEP = (
    "e2hil doctor without --port lists the ports; if it says Permission denied: " + PERMISSION_STEP
)


def examine(port: str, calibration: Path | None, seconds: float = _SECONDS) -> list[Finding]:
    """Examines the arm on a port without changing anything about it.

    Args:
        port: the serial port.
        calibration: LeRobot's file for this arm, to compare with what the motors hold.
        seconds: how long to measure the line [s].
    """
    wanted, findings = _read_calibration(calibration)
    ids = wanted.ids if wanted else range(1, len(JOINTS) + 1)
    joints = dict(zip(ids, JOINTS, strict=True))
    try:
        with FeetechBus(port, retries=_RETRIES) as bus:
            models = _ping(bus, joints)
            absent = {i: joint for i, joint in joints.items() if i not in models}
            others = strangers(bus, joints) if absent else []
            present = _examine_present(bus, joints, models, wanted, seconds) if models else []
        if absent:
            findings += missing(port, absent, len(joints), others, at_other_rates(port, absent))
    except PortLostError as error:
        return [*findings, Finding(port, Level.FAULT, str(error), _PORT_STEP)]
    return findings + present


def _read_calibration(path: Path | None) -> tuple[Calibration | None, list[Finding]]:
    """Reads the file, and says what is wrong with it or that it was not looked at."""
    if path is None:
        step = "add --calibration FILE to compare the arm with its calibration"
        return None, [Finding("calibration", Level.NOTE, "not checked", step)]
    try:
        return read_calibration(path, Kinematics().joint_limits), []
    except CalibrationError as error:
        return None, [Finding("calibration", Level.FAULT, str(error), CALIBRATION_STEP)]


def _ping(bus: FeetechBus, joints: dict[int, str]) -> dict[int, int]:
    """Returns the model numbers of the motors that answer, by id."""
    models = {}
    for servo_id in joints:
        with contextlib.suppress(NoAnswerError):
            models[servo_id] = bus.ping(servo_id)
    return models


def _examine_present(
    bus: FeetechBus,
    joints: dict[int, str],
    models: dict[int, int],
    calibration: Calibration | None,
    seconds: float,
) -> list[Finding]:
    """Examines the motors that answer, and the line to them."""
    wanted = {motor.id: motor for motor in calibration.motors.values()} if calibration else {}
    motors: list[Motor] = []
    findings: list[Finding] = []
    try:
        motors = read_motors(bus, joints, models)
    except NoAnswerError as error:
        findings.append(Finding("motors", Level.FAULT, str(error), LINE_STEP))
    for motor in motors:
        found = examine_motor(motor, wanted.get(motor.servo_id))
        findings += [Finding(motor.name, *each) for each in found]
    findings += [Finding("motors", *each) for each in examine_together(motors)]
    findings.append(examine_line(bus, list(models), seconds))
    return findings
