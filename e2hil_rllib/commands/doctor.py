"""Whether an SO101 is ready to be used, and what to do about what is not; only reads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from serial.tools import list_ports

from envs.hardware.bus import FeetechBus
from envs.hardware.calibration import (
    Calibration,
    CalibrationError,
    MotorCalibration,
    read_calibration,
)
from envs.hardware.errors import NoAnswer, PortLost, ServoFault
from envs.hardware.registers import MODEL_NUMBER
from envs.hardware.telemetry import PHASE_NO_CURRENT, VOLTS_PER_BIT, Telemetry
from envs.kinematics import JOINTS, Kinematics

_SECONDS = 1.0  # of measuring the line
_RETRIES = 5  # a bad line is to be measured, not to hide what else is wrong
_LOWEST_RATE = 60.0  # a reading and a command at 30 Hz [transactions/s]
_HIGHEST_LOSS = 0.01
_WARM = 10  # below the servo's own limit [°C]
_MULTI_TURN = 0x10  # Phase bit
_FEETECH_BOARD = 0x1A86  # USB vendor of the serial chip on Feetech's and Waveshare's boards
_REGISTERS = (
    "Firmware_Major_Version",
    "Firmware_Minor_Version",
    "Phase",
    "Min_Voltage_Limit",
    "Max_Voltage_Limit",
    "Max_Temperature_Limit",
    "Torque_Enable",
    "Homing_Offset",
    "Min_Position_Limit",
    "Max_Position_Limit",
)
_STEPS = {
    "voltage": "check that the power supply fits the servos, and its plug",
    "angle sensor": "switch the power off and on; replace the motor if it returns",
    "overheat": "switch the power off and let the motor cool down; look for what it pushes against",
    "over-current": "free the joint, then switch the power off and on",
    "overload": "free the joint, then switch the power off and on",
}
_PORT_STEP = (
    "e2hil doctor without --port lists the ports; if it says Permission denied: "
    "sudo usermod -aG dialout $USER, then log in again"
)
_LINE_STEP = (
    "check the three-wire cables and their plugs, and use the board's own USB cable without a hub"
)
_SLOW_STEP = (
    "end other programs that need the processor; of an FTDI adapter set the latency_timer to 1 ms"
)
_CALIBRATION_STEP = "take this arm's own calibration file, or calibrate anew"


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    FAULT = "fault"


Found = tuple[Level, str, str]
"""Level, what was found, and the next step."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        where: the motor, port or file.
        level: whether it is as it should be.
        what: was found.
        step: what to do next, where something is to be done.
    """

    where: str
    level: Level
    what: str
    step: str = ""


def show_doctor(port: str | None, calibration: Path | None, console: Console) -> bool:
    """`e2hil doctor`: prints what there is to say, and returns whether all is well."""
    findings = examine(port, calibration) if port else find_ports()
    table = Table(
        "", "", "found", "next step", title=f"SO101 on {port}" if port else "serial ports"
    )
    styles = {Level.OK: "green", Level.NOTE: "yellow", Level.FAULT: "bold red"}
    for finding in findings:
        level = Text(finding.level, style=styles[finding.level])
        table.add_row(Text(finding.where), level, Text(finding.what), Text(finding.step))
    console.print(table)
    return all(finding.level is not Level.FAULT for finding in findings)


def find_ports() -> list[Finding]:
    """Lists the serial ports, those that look like a servo board first."""
    ports = sorted(list_ports.comports(), key=lambda p: (p.vid != _FEETECH_BOARD, p.device))
    findings = []
    for port in ports:
        board = port.vid == _FEETECH_BOARD
        level = Level.OK if board else Level.NOTE
        what = f"{port.description}, {'looks like a' if board else 'not a known'} servo board"
        step = f"try e2hil doctor --port {port.device}" if port.vid else ""
        findings.append(Finding(port.device, level, what, step))
    if not any(port.vid for port in ports):
        step = "plug in the arm's USB cable and its power supply; without an arm: e2hil virtual"
        findings.append(Finding("USB", Level.FAULT, "there is no serial port on USB", step))
    return findings


def examine(port: str, calibration: Path | None, seconds: float = _SECONDS) -> list[Finding]:
    """Examines the arm on a port without changing anything about it.

    Args:
        port: the serial port.
        calibration: LeRobot's file for this arm, to compare with what the motors hold.
        seconds: how long to measure the line [s].
    """
    wanted, findings = _read_calibration(calibration)
    ids = wanted.ids if wanted else range(1, len(JOINTS) + 1)
    names = {i: f"motor {i} {joint}" for i, joint in zip(ids, JOINTS, strict=True)}
    try:
        with FeetechBus(port, retries=_RETRIES) as bus:
            models = _ping(bus, names)
            findings += _missing(names, models)
            if models:
                findings += _examine_motors(bus, names, models, wanted)
                findings.append(_examine_line(bus, list(models), seconds))
    except PortLost as error:
        findings.append(Finding(port, Level.FAULT, str(error), _PORT_STEP))
    return findings


def _read_calibration(path: Path | None) -> tuple[Calibration | None, list[Finding]]:
    """Reads the file, and says what is wrong with it or that it was not looked at."""
    if path is None:
        step = "add --calibration FILE to compare the arm with its calibration"
        return None, [Finding("calibration", Level.NOTE, "not checked", step)]
    try:
        return read_calibration(path, Kinematics().joint_limits), []
    except CalibrationError as error:
        return None, [Finding("calibration", Level.FAULT, str(error), _CALIBRATION_STEP)]


def _ping(bus: FeetechBus, names: Mapping[int, str]) -> dict[int, int]:
    """Returns the model numbers of the motors that answer, by id."""
    models = {}
    for servo_id in names:
        with contextlib.suppress(NoAnswer):
            models[servo_id] = bus.ping(servo_id)
    return models


def _missing(names: Mapping[int, str], models: Mapping[int, int]) -> list[Finding]:
    """Says which motors do not answer."""
    if not models:
        step = "check the arm's power supply, the cable from the board to motor 1, and the port"
        return [Finding("motors", Level.FAULT, f"none of {len(names)} motors answers", step)]
    step = "check the three-wire cable into this motor, then that the motor has this id"
    return [
        Finding(name, Level.FAULT, "does not answer", step)
        for servo_id, name in names.items()
        if servo_id not in models
    ]


def _examine_motors(
    bus: FeetechBus,
    names: Mapping[int, str],
    models: Mapping[int, int],
    calibration: Calibration | None,
) -> list[Finding]:
    """Examines the motors that answer."""
    present = list(models)
    try:
        registers = {name: _read(bus, name, present) for name in _REGISTERS}
        telemetry = bus.read_telemetry(present)
    except NoAnswer as error:
        return [Finding("motors", Level.FAULT, str(error), _LINE_STEP)]
    wanted = {motor.id: motor for motor in calibration.motors.values()} if calibration else {}
    findings = []
    for place, servo_id in enumerate(present):
        held = {name: values[servo_id] for name, values in registers.items()}
        found = [
            *_examine_model(models[servo_id]),
            *_examine_supply(held, telemetry, place),
            *_examine_settings(held),
            *_compare(held, wanted.get(servo_id)),
        ]
        if not found:
            found = [(Level.OK, _summary(held, telemetry, place), "")]
        findings += [Finding(names[servo_id], *each) for each in found]
    return findings


def _read(bus: FeetechBus, name: str, servo_ids: Sequence[int]) -> dict[int, int]:
    """Reads a register of motors that may be reporting errors, which the telemetry shows."""
    try:
        return bus.sync_read(name, servo_ids)
    except ServoFault as fault:
        return fault.values


def _examine_model(model: int) -> Iterator[Found]:
    if model != MODEL_NUMBER:
        what = f"is a model {model}, expected an STS3215 ({MODEL_NUMBER})"
        yield Level.FAULT, what, "check that this is the arm's port"


def _examine_supply(held: Mapping[str, int], telemetry: Telemetry, place: int) -> Iterator[Found]:
    """Voltage and temperature against the motor's own limits, and the errors that it reports."""
    voltage, temperature = telemetry.voltages[place], telemetry.temperatures[place]
    low, high = (held[f"{end}_Voltage_Limit"] * VOLTS_PER_BIT for end in ("Min", "Max"))
    hottest = held["Max_Temperature_Limit"]
    reported = set(telemetry.faults[place])
    if not low <= voltage <= high:
        reported.discard("voltage")
        yield Level.FAULT, f"{voltage:.1f} V, expected {low:.1f} to {high:.1f} V", _STEPS["voltage"]
    if temperature >= hottest:
        reported.discard("overheat")
        yield Level.FAULT, f"{temperature:.0f} °C, at most {hottest} °C", _STEPS["overheat"]
    elif temperature >= hottest - _WARM:
        yield Level.NOTE, f"{temperature:.0f} °C, stops at {hottest} °C", "let it cool down soon"
    for name in sorted(reported):
        step = _STEPS.get(name, "look it up in the motor's manual")
        yield Level.FAULT, f"reports {name}", step


def _examine_settings(held: Mapping[str, int]) -> Iterator[Found]:
    """What the motor is set to, as far as an arm that connects does not set it anyway."""
    if held["Phase"] & PHASE_NO_CURRENT:
        what = f"has no current feedback (Phase {held['Phase']})"
        yield Level.NOTE, what, "its current reads 0 A: a stall shows in its load and heat alone"
    if held["Phase"] & _MULTI_TURN:
        what = f"counts several turns (Phase {held['Phase']})"
        yield Level.NOTE, what, "nothing: an arm that connects sets it to one turn"
    if held["Torque_Enable"]:
        step = "support the arm before its power is switched off; no program may be using it now"
        yield Level.NOTE, "is under torque", step


def _compare(held: Mapping[str, int], wanted: MotorCalibration | None) -> Iterator[Found]:
    """What the motor holds of its calibration against the file."""
    if wanted is None:
        return
    expected = {
        "Homing_Offset": wanted.homing_offset,
        "Min_Position_Limit": wanted.range_min,
        "Max_Position_Limit": wanted.range_max,
    }
    for name, value in expected.items():
        if held[name] != value:
            what = f"{name} is {held[name]}, the calibration file says {value}"
            yield Level.FAULT, what, _CALIBRATION_STEP


def _summary(held: Mapping[str, int], telemetry: Telemetry, place: int) -> str:
    firmware = f"{held['Firmware_Major_Version']}.{held['Firmware_Minor_Version']}"
    return (
        f"firmware {firmware}, {telemetry.voltages[place]:.1f} V, "
        f"{telemetry.temperatures[place]:.0f} °C, position {telemetry.position_ticks[place]}"
    )


def _examine_line(bus: FeetechBus, servo_ids: Sequence[int], seconds: float) -> Finding:
    """Reads the telemetry as fast as it comes, and counts what is lost."""
    before, readings = replace(bus.counters), 0
    start = now = time.monotonic()
    while now - start < seconds:
        with contextlib.suppress(NoAnswer):  # the counters know
            bus.read_telemetry(servo_ids)
        readings += 1
        now = time.monotonic()
    rate, after = readings / (now - start), bus.counters
    lost = after.lost_packets - before.lost_packets
    bad = after.bad_packets - before.bad_packets
    answers = readings * len(servo_ids)
    what = f"{rate:.0f} readings/s; of {answers} answers {lost} lost, {bad} damaged"
    if lost + bad > _HIGHEST_LOSS * answers:
        return Finding("line", Level.FAULT, what, _LINE_STEP)
    if rate < _LOWEST_RATE:
        step = f"at least {_LOWEST_RATE:.0f} are needed: {_SLOW_STEP}"
        return Finding("line", Level.FAULT, what, step)
    return Finding("line", Level.OK, what)
