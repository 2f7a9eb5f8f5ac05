"""Whether the goals that a virtual follower's servos got were safe, from the servos' own log."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from envs.hardware.bus.telemetry import RADIANS_PER_TICK
from envs.hardware.setup.calibration import Calibration
from envs.kinematics import JOINTS, Kinematics
from envs.safety_limits import SafetyLimits
from envs.virtual.virtual_servo import GoalEvent
from envs.workspace import clamp

_TICK = 0.002  # [rad]: what rounding to ticks does to an angle, and a little more
_STANDS = 3  # [ticks]: a goal this near to where the servo is moves nothing
# The TCP of targets that are each rounded to ticks, over all joints and the arm's length [m].
_ROUNDING = 0.002
_WINDOW = 0.3  # over which a speed is taken [s]
_JITTER = 1.2  # goals arrive a little earlier or later than they were decided on


@dataclass
class GoalReport:
    """What a log says.

    Attributes:
        goals: how many goals under torque there were.
        unsafe: what was wrong, in words.
        largest_step: of a joint from one goal to the next [rad].
        fastest: speed of a joint's goal, over 0.3 s [rad/s].
        largest_lead: from a body joint to its goal [rad].
        furthest_out: of the TCP of a goal from the box, once it was inside [m].
    """

    goals: int
    unsafe: list[str]
    largest_step: float = 0.0
    fastest: float = 0.0
    largest_lead: float = 0.0
    furthest_out: float = 0.0


def check_goals(
    events: Iterable[GoalEvent], calibration: Calibration, limits: SafetyLimits | None = None
) -> GoalReport:
    """Compares a follower's goals with the limits that they should have been held to."""
    limits = limits or SafetyLimits()
    under_torque = [event for event in events if event.torque]
    report = GoalReport(len(under_torque), [])
    places = {servo_id: place for place, servo_id in enumerate(calibration.ids)}
    kinematics = Kinematics()
    low, high = limits.joint_limits(*kinematics.joint_limits)
    ticks: dict[int, int] = {}
    path: deque[tuple[float, np.ndarray]] = deque()
    inside = False
    for time, group in groupby(under_torque, key=lambda event: event.time):
        together = list(group)
        moves = any(abs(event.goal - event.present) > _STANDS for event in together)
        for event in together:
            joint = JOINTS[places[event.servo_id]]
            before = ticks.get(event.servo_id, event.present)
            step = abs(event.goal - before) * RADIANS_PER_TICK
            lead = abs(event.goal - event.present) * RADIANS_PER_TICK
            stands = abs(event.goal - event.present) <= _STANDS
            if not stands and step > limits.max_step + _TICK:
                report.unsafe.append(f"{time:.3f} s: {joint} jumps by {step:.3f} rad")
            if joint != "gripper":
                report.largest_lead = max(report.largest_lead, lead)
                if lead > limits.max_lead + limits.max_step:
                    report.unsafe.append(f"{time:.3f} s: {joint} is led by {lead:.3f} rad")
            if not stands:
                report.largest_step = max(report.largest_step, step)
            ticks[event.servo_id] = event.goal
        if len(ticks) < len(JOINTS):
            continue
        angles = calibration.to_radians([ticks[i] for i in calibration.ids])
        if moves and ((angles < low - _TICK) | (angles > high + _TICK)).any():
            report.unsafe.append(f"{time:.3f} s: {angles.round(3)} is beyond the joints' limits")
        tcp = kinematics.forward(angles)
        out = float(np.abs(tcp - clamp(tcp, limits.workspace)).max())
        if out <= limits.workspace_tolerance:
            inside = True
        elif inside and moves:
            report.furthest_out = max(report.furthest_out, out)
            if out > limits.workspace_tolerance + _ROUNDING:
                report.unsafe.append(f"{time:.3f} s: the TCP goes to {tcp.round(3)}")
        if not moves:
            path.clear()  # it is held where it is, which is not on the way that it was led
        path.append((time, angles))
        while len(path) > 1 and path[1][0] <= time - _WINDOW:
            path.popleft()
        passed = time - path[0][0]
        if passed >= _WINDOW:
            change = float(np.abs(angles - path[0][1])[:-1].max())
            report.fastest = max(report.fastest, change / passed)
    if report.fastest > _JITTER * limits.max_speed:
        report.unsafe.append(f"a goal moves at {report.fastest:.2f} rad/s")
    return report
