"""Operator at the leader arm, who takes over by grabbing it or with a key."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.checked import ACTION_SIZE
from envs.kinematics import Kinematics
from envs.operators.keys import KeyEvent
from envs.operators.pressed import Pressed
from envs.so101 import SO101Env
from envs.workspace import clamp

FloatArray = NDArray[np.float64]

# Largest lag of the follower behind the hand [m]; anything beyond is dropped, or the arm would
# continue long after a quick hand has stopped.
_LONGEST_LAG = 0.06
_FADING = 0.5  # share of a turn of the leader's gripper by which the two grippers converge


class Leader(Protocol):
    """Leader arm; see ``envs.hardware.leader.leader_arm.LeaderArm``."""

    @property
    def positions(self) -> FloatArray:
        """Joint angles, shape (6,) [rad]."""
        ...

    @property
    def grabbed(self) -> bool:
        """Whether somebody has grabbed the leader while it mirrored."""
        ...

    @property
    def fault(self) -> str:
        """Reason why the leader is unreachable, "" if none."""
        ...

    def mirror(self, follower: FloatArray) -> None:
        """Mirror the follower's joint angles, shape (6,) [rad]."""
        ...

    def limp(self) -> None:
        """Make the leader limp, so that a hand can lead it."""
        ...

    def close(self) -> None:
        """Release the leader for good."""
        ...


class LeaderOperator:
    """Operator who leads the follower with the leader arm; implements ``Operator``.

    While the policy acts, the leader mirrors the follower. It is limp once it is grabbed or the key
    to take over is pressed, until the key to give back. During that time the follower's TCP makes
    the motion of the leader's TCP from where it was, so that it never jumps, wherever the two arms
    are. The gripper does the same, but the two angles converge while the hand turns it.

    While the leader is unreachable the person keeps the lead and the arm stands still; once it is
    back the person continues from where the two arms then are.

    Args:
        leader: Connected leader arm, closed by ``close``.
        pressed: Pressed keys.
        gives_back: Whether the arm can be given back to a policy; otherwise that key does nothing,
            as when the person demonstrates.
    """

    def __init__(self, leader: Leader, pressed: Pressed, gives_back: bool = True) -> None:
        self._leader, self._pressed, self._gives_back = leader, pressed, gives_back
        self._kinematics = Kinematics()
        self._env: SO101Env | None = None
        self.leading = False
        """Whether the person leads."""
        self._anchor = np.zeros(3)  # the follower's TCP minus the leader's [m]
        self._gripper_anchor = self._gripper = 0.0  # [rad]
        self._command: FloatArray | None = None  # at the first step of a takeover
        self._lost = False  # the leader, and with it its anchor

    @property
    def fault(self) -> str:
        """Reason why the leader arm is unreachable, "" if none."""
        return self._leader.fault

    @property
    def grabbed(self) -> bool:
        """Whether somebody has grabbed the leader arm while it mirrored."""
        return self._leader.grabbed

    def reset(self, env: SO101Env, seed: int | None) -> None:
        """Begin to watch a new episode, which the person leads only once they take over."""
        self._env = env
        self.give_back()

    def idle(self, positions: FloatArray) -> bool:
        """Mirror while no episode runs, and return whether somebody has grabbed the leader.

        Args:
            positions: Joint angles of the follower, shape (6,) [rad].
        """
        if self._leader.grabbed:
            return True
        self._leader.mirror(positions)
        return False

    def act(self) -> NDArray[np.float32] | None:
        """Return the person's action, shape (4,), or None to leave the step to the policy."""
        assert self._env is not None, "reset comes first"
        said = self._pressed.take(KeyEvent.TAKE_OVER, KeyEvent.GIVE_BACK)
        if said is KeyEvent.GIVE_BACK and self._gives_back:
            self.give_back()
        if not self.leading and (said is KeyEvent.TAKE_OVER or self._leader.grabbed):
            self.take_over()
        if not self.leading:
            self._leader.mirror(self._env.joint_positions)
            return None
        return self._action(self._env)

    def take_over(self) -> None:
        """Make the leader limp, and lead from where the two arms are."""
        assert self._env is not None, "reset comes first"
        self.leading = True
        self._leader.limp()
        self._lost = bool(self._leader.fault)
        # The takeover sets the command to the measured TCP; see SO101Env.synchronize.
        self._command = clamp(self._env.tcp, self._env.workspace)
        self._anchor_to(self._command, self._env.gripper_command)

    def give_back(self) -> None:
        """Give the arm back to the policy."""
        self.leading = False
        self._leader.limp()

    def close(self) -> None:
        """Release the leader arm."""
        self._leader.close()

    def _anchor_to(self, command: FloatArray, gripper: float) -> None:
        """Anchor the leader's pose to the follower's commands, TCP [m] and gripper [rad]."""
        angles = self._leader.positions
        self._anchor = command - self._kinematics.forward(angles)
        self._gripper = float(angles[-1])
        self._gripper_anchor = gripper - self._gripper

    def _action(self, env: SO101Env) -> NDArray[np.float32]:
        action = np.zeros(ACTION_SIZE, np.float32)
        # On the first step of a takeover the environment has not set its command yet.
        command = self._command if self._command is not None else env.tcp_command
        self._command = None
        if self._leader.fault:
            self._lost = True
            return action
        if self._lost:  # the leader may have been laid down or have sunk meanwhile
            self._lost = False
            self._anchor_to(command, env.gripper_command)
        angles = self._leader.positions
        leader = self._kinematics.forward(angles)
        way = clamp(leader + self._anchor, env.workspace) - command
        way *= min(1.0, _LONGEST_LAG / max(float(np.linalg.norm(way)), 1e-9))
        self._anchor = command + way - leader
        action[:3] = np.clip(way / env.step_size, -1.0, 1.0)
        turn, self._gripper = float(angles[-1]) - self._gripper, float(angles[-1])
        fades = min(abs(self._gripper_anchor), _FADING * abs(turn))
        self._gripper_anchor -= float(np.copysign(fades, self._gripper_anchor))
        opening = self._gripper + self._gripper_anchor - env.gripper_command
        action[3] = np.clip(opening / env.gripper_step, -1.0, 1.0)
        return action
