"""Watched state of a virtual arm, as a bystander sees it: pose, motion and power."""

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from envs.kinematics import JOINTS
from envs.virtual.virtual_so101 import VirtualArm

FloatArray = NDArray[np.float64]

_STILL = 0.015  # a joint that moves less stands still [rad]
_AT_START = 0.15  # starts differ by a noise [rad]
_SPAN = 0.4  # recent motion that is considered [s]
_MOVES = 0.06  # least motion within that time [rad]
_STRAIGHT = 0.9  # cosine to the straight line of the joints


class ArmWatch:
    """Recent motion of a virtual arm.

    Args:
        arm: Virtual arm.
        start: Joint angles at which its episodes start, as far as known, shape (6,) [rad].
        clock: Function that returns the time [s].
    """

    def __init__(self, arm: VirtualArm, start: FloatArray, clock: Callable[[], float]) -> None:
        self._arm, self._clock = arm, clock
        self.start = start.copy()
        """Joint angles at which episodes start, shape (6,) [rad]; set to those of a real start."""
        self.joints = np.zeros(len(JOINTS))
        """Joint angles at the last look, shape (6,) [rad]."""
        self.powered = False
        """Whether all motors had torque at the last look."""
        self._seen: deque[tuple[float, FloatArray]] = deque()
        self._stood_at, self._stood_since = self.joints, clock()

    @property
    def still_for(self) -> float:
        """Time for which the arm has been standing still with its torque on [s]."""
        return self._clock() - self._stood_since

    @property
    def at_start(self) -> bool:
        """Whether the arm is where its episodes start."""
        return bool(np.abs(self.joints - self.start).max() < _AT_START)

    @property
    def goes_to_start(self) -> bool:
        """Whether all joints move straight to the start, which a policy hardly ever does."""
        moved, left = self.joints - self._seen[0][1], self.start - self.joints
        if np.abs(moved).max() < _MOVES:
            return False
        lengths = float(np.linalg.norm(moved) * np.linalg.norm(left))
        return self.at_start or float(moved @ left) > _STRAIGHT * lengths

    def look(self) -> None:
        """Look at the arm, without waiting."""
        plant, servos = self._arm.plant, self._arm.port.chain.servos

        def seen() -> tuple[list[float], bool]:
            angles = [plant.state(joint).position for joint in range(len(JOINTS))]
            return angles, all(servo.get("Torque_Enable") for servo in servos)

        angles, self.powered = self._arm.port.call(seen)
        now, self.joints = self._clock(), np.array(angles)
        self._seen.append((now, self.joints))
        while self._seen[0][0] < now - _SPAN:
            self._seen.popleft()
        if not self.powered or np.abs(self.joints - self._stood_at).max() > _STILL:
            self._stood_at, self._stood_since = self.joints, now
