"""Guarded slow motions of an arm: to a start pose, to the rest pose."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.hardware.letting_go.letting_go import NotArrivedError
from envs.interfaces import ArmState
from envs.kinematics import JOINTS, Kinematics

FloatArray = NDArray[np.float64]

_BODY = np.s_[:-1]  # a gripper may close on something before it arrives
_PROGRESS = 0.01  # [rad]: less than this in _PATIENCE seconds is none
_PATIENCE = 1.5
_RESTING = 0.1  # [rad/s]
_LIFTED = 0.075  # [m]: where the gripper still looks straight down


class Movable(Protocol):
    """Arm that a motion can command."""

    @property
    def goal(self) -> FloatArray:
        """Last goal of the arm, shape (6,) [rad]."""
        ...

    def command(self, joint_targets: FloatArray) -> None:
        """Move toward joint angles for one period, through the safety layer."""
        ...

    def read(self) -> ArmState:
        """Return the current state."""
        ...


class GuardedMotion:
    """Slow motion of an arm along straight lines of its joints.

    Where the line is blocked, as by the floor of the workspace, the arm is lifted and tries once
    more from above.

    Args:
        arm: Arm; its commands pass the safety layer.
        period: Period of the commands [s].
        speed: Speed of the fastest joint [rad/s].
        tolerance: Largest final error of each joint but the gripper [rad].
        why_held: Function that returns what keeps the arm from moving, "" if nothing does.
    """

    def __init__(
        self,
        arm: Movable,
        period: float,
        speed: float,
        tolerance: float,
        why_held: Callable[[], str],
    ) -> None:
        self._arm = arm
        self._period = period
        self._speed = speed
        self._tolerance = tolerance
        self._why_held = why_held
        self._kinematics = Kinematics()

    def move(self, target: FloatArray) -> None:
        """Move to joint angles, shape (6,) [rad], and return once the arm is there.

        Raises:
            NotArrivedError: If the arm makes no progress; it holds where it is.
            BusError: If the arm cannot be read or commanded.
        """
        if self._follow(target):
            return
        here = self._arm.read().positions
        above = self._kinematics.forward(here)
        above[2] = max(above[2], _LIFTED)
        self._follow(self._kinematics.inverse(above, float(here[-1])))
        if self._follow(target):
            return
        error = np.abs(self._arm.read().positions - target)[_BODY]
        joint = int(error.argmax())
        raise NotArrivedError(
            f"{JOINTS[joint]} stays {error[joint]:.2f} rad from its target of {target[joint]:.2f} "
            f"rad, expected at most {self._tolerance:g} rad: "
            f"{self._why_held() or 'free the arm, or choose a target inside of its workspace'}"
        )

    def _follow(self, target: FloatArray) -> bool:
        """Command a straight line and return whether its end was reached.

        Each step starts from the goal before, so that the arm never hurries to catch up after the
        safety layer has slowed it down.
        """
        stride = self._speed * self._period
        before = self._arm.read().positions
        idle, nearest, left = 0.0, np.inf, np.inf
        while idle < _PATIENCE:
            goal = self._arm.goal
            distance = float(np.abs(target - goal).max())
            self._arm.command(goal + (target - goal) * min(1.0, stride / max(distance, 1e-9)))
            position = self._arm.read().positions
            left = float(np.abs(position - target)[_BODY].max())
            jaws_rest = abs(position[-1] - before[-1]) < _RESTING * self._period
            before = position
            if distance <= stride and left <= self._tolerance and jaws_rest:
                return True
            if left < nearest - _PROGRESS:
                idle, nearest = 0.0, left
            elif jaws_rest:
                idle += self._period
        return left <= self._tolerance
