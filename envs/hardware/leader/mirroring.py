"""Mirroring: goals that bring the leader to the follower, smoothly and slowly at first."""

import math

import numpy as np
from numpy.typing import NDArray

from envs.hardware.leader.leader_settings import LeaderSettings
from envs.kinematics import Kinematics

FloatArray = NDArray[np.float64]

_ALIGNED = 0.05  # [rad]
_UP = np.array([0.0, 0.0, 1.0])
_LONGEST = 0.1  # longest time of a step [s]: after a stall the leader does not catch up
_ROUNDS = 2  # one round leaves an error of centimetres where the follower sags
_BODY, _GRIPPER = np.s_[:-1], -1


class Mirroring:
    """Goals of the leader from the follower's angles, which arrive rarely and in steps.

    Args:
        settings: Speeds, times and clearance.
        positions: Joint angles of the leader, shape (6,) [rad].
        now: Current time [s].
    """

    def __init__(self, settings: LeaderSettings, positions: FloatArray, now: float) -> None:
        self._settings = settings
        self._goal = positions.copy()
        self._began = self._sent_at = now
        self._kinematics = Kinematics()
        self._follower = self._target = np.full(6, np.nan)
        self.aligned = False
        """Whether the goals have reached the follower's angles since the mirroring began."""

    def next(self, follower: FloatArray, now: float) -> FloatArray:
        """Return the current goals, shape (6,) [rad].

        Args:
            follower: Joint angles of the follower, shape (6,) [rad].
            now: Current time [s].
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
        # Slowing the joints down one by one would bend the path, perhaps down to the table.
        change[_BODY] *= min(1.0, largest / max(float(np.abs(change[_BODY]).max()), 1e-12))
        change[_GRIPPER] = np.clip(change[_GRIPPER], -largest, largest)
        self._goal += change
        return self._goal.copy()

    def _above_table(self, follower: FloatArray) -> FloatArray:
        """Return angles whose TCP is above the follower's if that is near the table.

        To the detector, a leader that touches the table looks like one in a hand.
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
