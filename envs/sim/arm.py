"""Simulated SO101 follower."""

import numpy as np
from numpy.typing import NDArray

from envs.interfaces import ArmState
from envs.sim.scene import Scene

TORQUE_PER_AMPERE = 1.09
"""Torque of an STS3215 per current [N m/A]: an estimate, 2.94 N m at a stall current of 2.7 A."""


class SimulatedArm:
    """Arm of a ``Scene``; implements ``envs.interfaces.Arm``."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._targets = np.zeros(6)

    def reset(self, joint_positions: NDArray[np.float64]) -> None:
        """Put the arm, at rest, at joint angles of shape (6,) [rad]."""
        data = self._scene.data
        data.qpos[:6] = joint_positions
        data.qvel[:6] = 0.0
        data.ctrl[:] = joint_positions
        self._targets = np.array(joint_positions, dtype=np.float64)
        self._scene.refresh()

    def command(self, joint_targets: NDArray[np.float64]) -> None:
        """Ramp the servos' targets to joint angles, shape (6,) [rad], over one control period."""
        goal = np.array(joint_targets, dtype=np.float64)
        self._scene.advance(self._targets, goal)
        self._targets = goal

    def handover(self) -> None:
        """Do nothing, since a simulated arm may move quickly after a takeover."""

    def read(self) -> ArmState:
        """Return the state of the joints; currents follow from the torques of the servos."""
        data = self._scene.data
        return ArmState(
            positions=data.qpos[:6].copy(),
            velocities=data.qvel[:6].copy(),
            currents=data.actuator_force[:6] / TORQUE_PER_AMPERE,
        )

    def close(self) -> None:
        """Do nothing, since a simulation holds no device."""
