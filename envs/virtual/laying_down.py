"""Virtual person that lays a fallen arm down, so that it can start again."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from envs.kinematics import JOINTS, Kinematics
from envs.virtual.mujoco_plant import REST as FOLDED
from envs.virtual.virtual_so101 import VirtualArm

FloatArray = NDArray[np.float64]

REST = np.array(FOLDED)
"""Joint angles of the folded arm at rest, shape (6,) [rad]."""

_RAISED = (0.0, -1.5, 0.2, 0.3, 0.0, 0.3)  # jaws off the table and away from the base [rad]
_LIES = 0.2  # tolerance around the rest pose [rad]
_FALLEN = 0.5  # time in which a limp arm comes down [s]
_SPEED = 1.5  # [rad/s]
_SHORTEST = 0.3  # shortest movement [s]


class LayingDown:
    """Hand that moves a limp arm to its folded rest pose.

    An arm that went limp in mid-air may rest on its own jaws, where no motor frees it.

    Args:
        arm: Virtual arm.
        clock: Function that returns the time [s].
    """

    def __init__(self, arm: VirtualArm, clock: Callable[[], float]) -> None:
        self._arm, self._clock = arm, clock
        self._limits = Kinematics().joint_limits
        self._limp_since: float | None = None
        self._ways: list[tuple[float, FloatArray, FloatArray]] = []  # beginning [s], from, to

    @property
    def holding(self) -> bool:
        """Whether a hand is on the arm."""
        return bool(self._ways)

    def step(self, joints: FloatArray, powered: bool) -> None:
        """Continue the movement, or begin one if the arm has fallen; to be called often.

        Args:
            joints: Joint angles of the arm, shape (6,) [rad].
            powered: Whether its motors have torque; the hand releases it then.
        """
        now = self._clock()
        if powered:
            self._limp_since = None
            self._let_go()
            return
        if self._limp_since is None:
            self._limp_since = now
        if self._ways:
            self._move(now)
        elif now - self._limp_since > _FALLEN and np.abs(joints - REST).max() > _LIES:
            raised = np.array([joints[0], *_RAISED[1:]])
            self._ways = [(now, joints, raised), (now + _takes(joints, raised), raised, REST)]

    def _move(self, now: float) -> None:
        began, start, goal = self._ways[0]
        share = (now - began) / _takes(start, goal)
        angles = np.clip(start + min(share, 1.0) * (goal - start), *self._limits)

        def hold() -> None:
            for joint, angle in enumerate(angles):
                self._arm.plant.hold(joint, float(angle), 2.0 * _SPEED)

        self._arm.port.call(hold)
        if share >= 1.0 and len(self._ways) > 1:
            self._ways.pop(0)
        elif share >= 1.0 + _SHORTEST:
            self._let_go()

    def _let_go(self) -> None:
        if not self._ways:
            return
        self._ways = []

        def release() -> None:
            for joint in range(len(JOINTS)):
                self._arm.plant.release(joint)

        self._arm.port.call(release)


def _takes(start: FloatArray, goal: FloatArray) -> float:
    return max(_SHORTEST, float(np.abs(goal - start).max()) / _SPEED)
