"""Calibrated virtual follower, and what its servos logged."""

from collections.abc import Iterable

import numpy as np

from envs.hardware.setup.calibration import Calibration, MotorCalibration
from envs.kinematics import HOME, JOINTS, Kinematics
from envs.virtual.plant import KinematicPlant
from envs.virtual.virtual_chain import VirtualChain
from envs.virtual.virtual_port import VirtualPort
from envs.virtual.virtual_servo import GoalEvent

LIMITS = Kinematics().joint_limits
IDS = tuple(range(1, 7))
_TICKS = 4096 / (2 * np.pi)


def calibration(**reversed_joints: bool) -> Calibration:
    """Return a calibration with the model's travel of every joint around tick 2047."""
    motors = {}
    for place, name in enumerate(JOINTS):
        half = round((LIMITS[1][place] - LIMITS[0][place]) / 2 * _TICKS)
        reverse = int(reversed_joints.get(name, False))
        motors[name] = MotorCalibration(place + 1, reverse, 0, 2047 - half, 2047 + half)
    return Calibration(motors, LIMITS)


def encoders(joints: Iterable[float]) -> list[float]:
    """Return the encoders' angles from their middle for joint angles [rad]."""
    ticks = calibration().to_ticks(np.array(list(joints)))
    return [float((tick - 2047) / _TICKS) for tick in ticks]


def follower(joints: Iterable[float] = HOME) -> tuple[VirtualChain, KinematicPlant]:
    """Return six factory-new servos that hold the calibration, at joint angles [rad]."""
    plant = KinematicPlant(encoders(joints))
    chain = VirtualChain(IDS, plant)
    for servo, motor in zip(chain.servos, calibration().motors.values(), strict=True):
        servo.set("Min_Position_Limit", motor.range_min)
        servo.set("Max_Position_Limit", motor.range_max)
    return chain, plant


def goals(port: VirtualPort, torque: bool | None = True) -> list[GoalEvent]:
    """Return the goals that the servos received, with torque on, off or (None) either."""
    events = port.call(lambda: list(port.chain.goals))
    return [event for event in events if torque is None or event.torque is torque]


def registers(port: VirtualPort, name: str) -> list[int]:
    """Return a register of all servos."""
    return port.call(lambda: [servo.get(name) for servo in port.chain.servos])


def largest_pull(events: Iterable[GoalEvent]) -> int:
    """Return the largest distance of a goal from its servo's position [ticks]."""
    return max(abs(event.goal - event.present) for event in events)


def largest_step(events: Iterable[GoalEvent]) -> int:
    """Return the largest change between consecutive goals of a servo [ticks]."""
    last: dict[int, int] = {}
    largest = 0
    for event in events:
        largest = max(largest, abs(event.goal - last.get(event.servo_id, event.goal)))
        last[event.servo_id] = event.goal
    return largest


def watch_torque(port: VirtualPort) -> list[tuple[float, int, int]]:
    """Log time, Torque_Limit and Torque_Enable of the shoulder whenever they change."""
    log: list[tuple[float, int, int]] = []
    step = port.chain.advance

    def advance(now: float) -> None:
        step(now)
        servo = port.chain.servo(2)
        seen = servo.get("Torque_Limit"), servo.get("Torque_Enable")
        if not log or log[-1][1:] != seen:
            log.append((now, *seen))

    port.call(lambda: setattr(port.chain, "advance", advance))
    return log
