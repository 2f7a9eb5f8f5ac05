"""The goals of a leader that goes where the follower is, smoothly and slowly at first."""

import math

import numpy as np
from numpy.typing import NDArray

from envs.hardware.leader.leader_settings import LeaderSettings
from envs.kinematics import Kinematics

FloatArray = NDArray[np.float64]

_ALIGNED = 0.05  # [rad]
_UP = np.array([0.0, 0.0, 1.0])
_LONGEST = 0.1  # a step is for so long at most [s]: after a stall nothing is caught up with
_ROUNDS = 2  # one leaves centimetres where the follower sags
_BODY, _GRIPPER = np.s_[:-1], -1


class Mirroring:
    """Makes goals out of the follower's angles, which come seldom and in steps.

    Args:
        settings: Speeds, times and the clearance.
        positions: Where the leader is, shape (6,) [rad].
        now: The time [s].
    """

    def __init__(self, settings: LeaderSettings, positions: FloatArray, now: float) -> None:
        self._settings = settings
        self._goal = positions.copy()
        self._began = self._sent_at = now
        self._kinematics = Kinematics()
        self._follower = self._target = np.full(6, np.nan)
        self.aligned = False
        """Whether the goals have come to the follower's angles since the mirroring began."""

    def next(self, follower: FloatArray, now: float) -> FloatArray:
        """Return the goals for now, shape (6,) [rad].

        Args:
            follower: Where the follower is, shape (6,) [rad].
            now: The time [s].
        """
        passed, self._sent_at = min(now - self._sent_at, _LONGEST), now
        if now - self._began < self._settings.grace:
            return self._goal.copy()
        if not np.array_equal(follower, self._follower):
            self._follower, self._target = follower.copy(), self._above_table(follower)
        left = self._target - self._goal
        self.aligned = self.aligned or float(np.abs(left).max()) < _ALIGNED
        speed = self._settings.speed if self.aligned else self._settings.approach_speed
        largest = speed * passed
        change = left * -math.expm1(-passed / self._settings.smoothing)
        # Joints that were slowed down one by one would bend the path, down to the table perhaps.
        change[_BODY] *= min(1.0, largest / max(float(np.abs(change[_BODY]).max()), 1e-12))
        change[_GRIPPER] = np.clip(change[_GRIPPER], -largest, largest)
        self._goal += change
        return self._goal.copy()

    def _above_table(self, follower: FloatArray) -> FloatArray:
        """Return angles whose TCP is over the follower's if that is near the table.

        A leader that touches the table feels like one that a hand holds.
        """
        tcp = self._kinematics.forward(follower)
        missing = self._settings.clearance - tcp[2]
        if missing <= 0.0:
            return follower
        gripper, target = float(follower[_GRIPPER]), follower
        high = self._kinematics.inverse(tcp + missing * _UP, gripper)
        for _ in range(_ROUNDS):
            low = self._kinematics.inverse(self._kinematics.forward(target), gripper)
            target = np.clip(target + high - low, *self._kinematics.joint_limits)
        return target
