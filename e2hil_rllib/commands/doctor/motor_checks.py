"""What one motor says about its supply, its heat, its errors and its settings."""

from __future__ import annotations

from collections.abc import Iterator

from e2hil_rllib.commands.doctor.findings import Found, Level
from e2hil_rllib.commands.doctor.limits import examine_limits
from e2hil_rllib.commands.doctor.motor import Motor
from envs.hardware.bus.registers import MODEL_NUMBER
from envs.hardware.bus.telemetry import PHASE_NO_CURRENT, VOLTS_PER_BIT
from envs.hardware.setup.arm_setup import GRIPPER, PHASE_MULTI_TURN
from envs.hardware.setup.calibration import MotorCalibration

_WARM = 10  # below the servo's own limit [°C]
_STEPS = {
    "voltage": "check that the power supply fits the servos, and its plug",
    "angle sensor": "switch the power off and on; replace the motor if it returns",
    "overheat": "switch the power off and let the motor cool down; look for what it pushes against",
    "over-current": "free the joint, then switch the power off and on",
    "overload": "free the joint, then switch the power off and on",
}


def examine_motor(motor: Motor, wanted: MotorCalibration | None) -> list[Found]:
    """Examines a motor, and compares it with its part of the calibration file if there is one."""
    found = [
        *_examine_model(motor),
        *_examine_supply(motor),
        *_examine_settings(motor),
        *_examine_gripper(motor),
        *examine_limits(motor, wanted),
    ]
    return found or [(Level.OK, _summary(motor), "")]


def _examine_model(motor: Motor) -> Iterator[Found]:
    if motor.model != MODEL_NUMBER:
        what = f"is a model {motor.model}, expected an STS3215 ({MODEL_NUMBER})"
        yield Level.FAULT, what, "check that this is the arm's port"


def _examine_supply(motor: Motor) -> Iterator[Found]:
    """Voltage and temperature against the motor's own limits, and the errors that it reports."""
    voltage, temperature = motor.voltage, motor.temperature
    low, high = (motor.held[f"{end}_Voltage_Limit"] * VOLTS_PER_BIT for end in ("Min", "Max"))
    hottest = motor.held["Max_Temperature_Limit"]
    reported = set(motor.reported)
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


def _examine_settings(motor: Motor) -> Iterator[Found]:
    """What the motor is set to that a person should know of."""
    phase = motor.held["Phase"]
    if phase & PHASE_NO_CURRENT:
        what = f"has no current feedback (Phase {phase})"
        yield Level.NOTE, what, "its current reads 0 A: a stall shows in its load and heat alone"
    if phase & PHASE_MULTI_TURN:
        what = f"counts several turns (Phase {phase})"
        yield Level.NOTE, what, "nothing: an arm that connects sets it to one turn"
    if motor.held["Torque_Enable"]:
        step = "support the arm before its power is switched off; no program may be using it now"
        yield Level.NOTE, "is under torque", step


def _examine_gripper(motor: Motor) -> Iterator[Found]:
    """Whether a stalled gripper is let burn; which arm it is, no register of a motor tells."""
    weaker = {name: motor.held[name] for name in GRIPPER if motor.held[name] > GRIPPER[name]}
    if motor.joint == "gripper" and weaker:
        held = ", ".join(f"{name} {value}" for name, value in weaker.items())
        wanted = ", ".join(str(GRIPPER[name]) for name in weaker)
        step = (
            f"of a leader, nothing; of a follower, e2hil sets {wanted} when it connects: until "
            "then let no program grip with it"
        )
        yield Level.NOTE, f"burns out if it stalls while the computer is dead: {held}", step


def _summary(motor: Motor) -> str:
    return (
        f"firmware {motor.firmware}, {motor.voltage:.1f} V, {motor.temperature:.0f} °C, "
        f"position {motor.position}"
    )
