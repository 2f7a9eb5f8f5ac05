"""MuJoCo plant: the simulation's arm driven by virtual servos, with a hand that can hold it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from envs.kinematics import JOINTS
from envs.sim.scene import Scene
from envs.virtual.plant import FULL_SPEED, Drive, JointState

STALL_TORQUE = 2.94
"""Stall torque of an STS3215 with gears of 1/345 [N m], proportional to the gear ratio."""
FOLLOWER_GEARS = (345,) * len(JOINTS)
"""Gear ratios of the follower: turns of the motor for one turn of each joint."""
LEADER_GEARS = (191, 345, 191, 147, 147, 147)
"""Gear ratios of the leader, which are lower so that a hand can move it."""
REST = (0.0, -1.745, 1.607, 1.194, 0.0, 0.0)
"""Joint angles of the folded arm, jaws on the table, where it stays without torque [rad]."""

_LONGEST_STEP = 0.002  # [s]
_ACCELERATION = 38.96  # Acceleration 254, in units of 100 ticks/s² [rad/s²]
# More than the error of full torque, far less than an error that would throw a freed joint.
_LEASH = 0.1  # [rad]
_LEASH_OF_FULL_TORQUE = 1.2  # the same in units of the error of full torque, for a soft servo
_HAND_STIFFNESS = 1000.0  # full torque moves it by 0.17 degrees [N m/rad]
_HAND_DAMPING = 20.0  # [N m s/rad]
_LIMP = Drive(0.0, 0.0, FULL_SPEED)
_UNSTABLE = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
)


@dataclass
class _Hand:
    """Hand that moves a joint to an angle [rad] at a speed [rad/s]."""

    angle: float
    speed: float


class MujocoPlant:
    """Six joints of a ``Scene``'s arm; implements ``envs.virtual.plant.Plant``.

    A joint approaches its servo's target with the servo's speed and the acceleration that the SO101
    is configured for, with no more than the servo's torque. Without torque gravity and friction
    move the joint. Angles are the model's, so that tick 2047 of an encoder is the model's zero.

    The same calls lead to the same motion. Only one thread may call at a time.
    """

    def __init__(
        self,
        scene: Scene,
        positions: ArrayLike = REST,
        gears: Sequence[float] = FOLLOWER_GEARS,
    ):
        """Take over a scene, whose arm starts at rest.

        Args:
            scene: Scene with the arm. Only this plant may advance it from now on.
            positions: Initial joint angles, shape (6,) [rad].
            gears: Gear ratios of the six joints. Torque and friction are proportional to them,
                inertia, stiffness and damping to their squares.

        Raises:
            ValueError: If there are not six finite angles within the joints' limits, or not six
                gears.
        """
        self._scene, self._model, self._data = scene, scene.model, scene.data
        start = np.asarray(positions, np.float64)
        lowest, highest = self._model.jnt_range[: len(JOINTS)].T
        if start.shape != (len(JOINTS),) or not ((start >= lowest) & (start <= highest)).all():
            raise ValueError(
                f"positions must be {len(JOINTS)} angles from {lowest} to {highest}, got {start}"
            )
        if len(gears) != len(JOINTS) or min(gears) <= 0:
            raise ValueError(f"gears must be {len(JOINTS)} positive numbers, got {gears}")
        ratios = np.array(gears, np.float64) / FOLLOWER_GEARS
        self._stall_torques = STALL_TORQUE * ratios
        self._gear(ratios)
        # Stiffness of the model, at which its damping was identified.
        self._stiffness = self._model.actuator_gainprm[:, 0] / STALL_TORQUE
        self._servo_damping = -self._model.actuator_biasprm[:, 2] * ratios
        self._damping = self._model.dof_damping.copy()
        self._setpoints, self._speeds = start.copy(), np.zeros(len(JOINTS))
        self._hands: dict[int, _Hand] = {}
        self._data.qpos[: len(JOINTS)] = start
        self._data.ctrl[:] = start
        self._scene.refresh()

    def step(self, dt: float, drives: Mapping[int, Drive]) -> None:
        """Advance time [s] while the servos drive their joints; a joint without a drive is free.

        Raises:
            RuntimeError: If the simulation became unstable.
        """
        count = max(1, math.ceil(dt / _LONGEST_STEP - 1e-9))
        self._model.opt.timestep = period = dt / count
        orders = [drives.get(joint, _LIMP) for joint in range(len(JOINTS))]
        limits = self._stall_torques * [drive.torque for drive in orders]
        self._model.actuator_forcerange[:] = np.stack([-limits, limits], axis=1)
        self._stiffen(np.array([drive.stiffness for drive in orders]))
        for _ in range(count):
            for joint, drive in enumerate(orders):
                self._approach(joint, drive, period)
            for joint, hand in self._hands.items():
                reach = hand.speed * period
                anchor = self._model.qpos_spring[joint]
                self._model.qpos_spring[joint] += np.clip(hand.angle - anchor, -reach, reach)
            self._data.ctrl[:] = self._setpoints
            mujoco.mj_step(self._model, self._data)
        for warning in _UNSTABLE:
            if self._data.warning[warning].number:
                raise RuntimeError(
                    f"the virtual arm's simulation became unstable ({warning.name}) at "
                    f"{self._data.time:.2f} s: start it again"
                )

    def state(self, joint: int) -> JointState:
        """Return the current state of a joint."""
        effort = float(self._data.actuator_force[joint] / self._stall_torques[joint])
        return JointState(float(self._data.qpos[joint]), float(self._data.qvel[joint]), effort)

    def hold(self, joint: int, angle: float, speed: float = 2.0) -> None:
        """Move a joint by hand to an angle and hold it there, even against a servo's full torque.

        Args:
            joint: Index of the joint.
            angle: Angle within the joint's limits [rad].
            speed: Speed of the motion [rad/s].

        Raises:
            ValueError: If the angle is out of the limits, or the speed is not positive.
        """
        lowest, highest = self._model.jnt_range[joint]
        if not lowest <= angle <= highest or not speed > 0:
            raise ValueError(
                f"{JOINTS[joint]} can be held from {lowest:.2f} to {highest:.2f} rad and moved at "
                f"a positive speed, got {angle} rad and {speed} rad/s"
            )
        if joint not in self._hands:
            self._model.qpos_spring[joint] = self._data.qpos[joint]
            self._model.jnt_stiffness[joint] = _HAND_STIFFNESS
            self._model.dof_damping[joint] = self._damping[joint] + _HAND_DAMPING
        self._hands[joint] = _Hand(angle, speed)

    def push(self, joint: int, torque: float) -> None:
        """Push a joint by hand with a torque [N m] until the next call; 0 ends it."""
        self._data.qfrc_applied[joint] = torque

    def release(self, joint: int) -> None:
        """Take the hand off a joint, which is then neither held nor pushed."""
        self._hands.pop(joint, None)
        self._model.jnt_stiffness[joint] = 0.0
        self._model.dof_damping[joint] = self._damping[joint]
        self._data.qfrc_applied[joint] = 0.0

    def _gear(self, ratios: np.ndarray) -> None:
        """Give the model's servos other gears, relative to 1/345."""
        arm, squares = slice(len(JOINTS)), ratios**2
        self._model.dof_armature[arm] *= squares
        self._model.dof_damping[arm] *= squares
        self._model.dof_frictionloss[arm] *= ratios

    def _stiffen(self, stiffness: np.ndarray) -> None:
        """Set the servos' stiffness, shape (6,) [1/rad], with the damping of the model's."""
        gains = stiffness * self._stall_torques
        self._model.actuator_gainprm[:, 0] = gains
        self._model.actuator_biasprm[:, 1] = -gains
        share = np.sqrt(stiffness / self._stiffness)
        self._model.actuator_biasprm[:, 2] = -self._servo_damping * share

    def _approach(self, joint: int, drive: Drive, period: float) -> None:
        """Move a servo's setpoint toward its target, in time to stop there."""
        position, velocity = self._data.qpos[joint], self._data.qvel[joint]
        lead = self._setpoints[joint] - position
        leash = max(_LEASH, _LEASH_OF_FULL_TORQUE * drive.torque / drive.stiffness)
        if drive.torque <= 0 or abs(lead) > leash:
            lead = 0.0 if drive.torque <= 0 else math.copysign(leash, lead)
            self._setpoints[joint], self._speeds[joint] = position + lead, velocity
        if drive.torque <= 0:
            return
        left, change = drive.target - self._setpoints[joint], _ACCELERATION * period
        wanted = min(drive.speed, math.sqrt(2 * _ACCELERATION * abs(left)))
        speed = float(
            np.clip(
                math.copysign(wanted, left),
                self._speeds[joint] - change,
                self._speeds[joint] + change,
            )
        )
        if abs(left) <= abs(speed) * period and abs(speed) <= 2 * change:
            self._setpoints[joint], self._speeds[joint] = drive.target, 0.0
            return
        self._speeds[joint] = speed
        self._setpoints[joint] += speed * period
