"""Plant: interface of the mechanism that virtual servos drive, and the simplest one."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

FULL_SPEED = 4.7
"""Speed of an STS3215 without load, 45 rpm [rad/s]."""


@dataclass(frozen=True)
class Drive:
    """Drive of a servo on its joint.

    Attributes:
        target: Target angle of the joint [rad].
        torque: Torque limit as a fraction of the stall torque; 0 leaves the joint free.
        speed: Speed limit [rad/s].
        stiffness: Share of the stall torque per error [1/rad]; by default that of the
            simulation's model, which hardly gives way.
    """

    target: float
    torque: float
    speed: float
    stiffness: float = 340.0


@dataclass(frozen=True)
class JointState:
    """State of a joint.

    Attributes:
        position: Angle from the middle of the servo's encoder [rad], not wrapped around.
        velocity: Angular velocity [rad/s].
        effort: Torque that the servo applies, as a fraction of its stall torque, -1 to 1.
    """

    position: float
    velocity: float = 0.0
    effort: float = 0.0


class Plant(Protocol):
    """Joints that servos drive, indexed 0, 1, … like their servos in the chain."""

    def step(self, dt: float, drives: Mapping[int, Drive]) -> None:
        """Advance time [s] while the servos drive their joints, by index."""
        ...

    def state(self, joint: int) -> JointState:
        """Return the current state of the joint at an index."""
        ...


class KinematicPlant:
    """Joints without weight that approach their targets like a first-order lag.

    Each may be blocked, as by an object, and moved by hand while its servo has no torque.
    """

    def __init__(self, positions: Iterable[float], time_constant: float = 0.03):
        """Start at rest.

        Args:
            positions: Angles of the joints from the middle of their encoders [rad].
            time_constant: Time in which the error falls to 1/e, at less than full speed [s].
        """
        self._states = [JointState(position) for position in positions]
        self._blocked: set[int] = set()
        self._time_constant = time_constant

    def step(self, dt: float, drives: Mapping[int, Drive]) -> None:
        """Move each joint toward its target, no faster than its servo can."""
        reach = -math.expm1(-dt / self._time_constant)
        for joint, drive in drives.items():
            state = self._states[joint]
            error = drive.target - state.position
            if drive.torque <= 0:
                self._states[joint] = JointState(state.position)
            elif joint in self._blocked:
                effort = max(-drive.torque, min(drive.torque, drive.stiffness * error))
                self._states[joint] = JointState(state.position, effort=effort)
            else:
                step = max(-drive.speed * dt, min(drive.speed * dt, reach * error))
                self._states[joint] = JointState(state.position + step, step / dt)

    def state(self, joint: int) -> JointState:
        """Return the current state of a joint."""
        return self._states[joint]

    def block(self, joint: int) -> None:
        """Hold a joint where it is, however hard its servo pulls."""
        self._blocked.add(joint)

    def unblock(self, joint: int) -> None:
        """Free a blocked joint."""
        self._blocked.discard(joint)

    def move(self, joint: int, position: float) -> None:
        """Set a joint to an angle [rad], as a hand does while the torque is off."""
        self._states[joint] = JointState(position)
