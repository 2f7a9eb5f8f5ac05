"""Gymnasium environment of the SO101: one class for the simulated and the physical arm."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from envs.checked import ACTION_SIZE, checked_action, checked_start
from envs.frames import check_frames
from envs.interfaces import Arm, ArmState, Cameras, Task
from envs.kinematics import Kinematics
from envs.options import number, one_of
from envs.workspace import Workspace, clamp

REWARDS = ("sparse", "dense", "external")
"""Kinds of reward; "external" leaves reward, success and end to a judge outside of the env."""

RETURN_BOUNDS = (0.0, 1.0)
"""Lowest and highest return of an episode where only success is rewarded."""

GRIPPER_SPEED = 2.0
"""Largest speed of the gripper's command [rad/s]; the servo reaches about 5."""

STATE_MARGIN = 0.03
"""Distance beyond the workspace up to which the TCP is observed [m]."""

_MAX_VELOCITY = 5.0  # [rad/s]: an unloaded STS3215 at 7.4 V
_MAX_CURRENT = 2.7  # [A]: its stall current
# Largest lead of a closed gripper's command over its jaws [rad]: enough for full force, and the
# gripper still opens at once.
_GRIPPER_LEAD = 0.15
_MAX_STARTS = 100

Observation = dict[str, NDArray[Any]]


class SO101Env(gymnasium.Env[Observation, NDArray[np.float32]]):
    """Environment in which small steps of an SO101's tool centre point (TCP) solve a task.

    Observation (``Dict``), every entry within finite bounds:
        state: float32 (21,): joint positions (6) [rad], joint velocities (6) [rad/s], motor
            currents (6) [A], TCP (3) [m].
        objects: float32, the task's privileged state; only without cameras, if it is known.
        camera names: uint8 RGB frames in the cameras' shapes, (128, 128, 3) by default; only
            with cameras.

    Action: ``Box(-1, 1, (4,))``: the TCP's command moves by the first three entries times
    ``step_size``, the gripper's command by the last times ``GRIPPER_SPEED`` for one period
    (positive opens). The command is integrated, not the measured pose, and stays in the workspace.

    ``info`` always holds ``is_intervention`` (False), ``teleop_action`` (zeros), ``succeed`` and
    ``start``, the name of the start's variant. With ``reward="external"``, ``succeed`` is always
    False, and ``task_succeed`` says whether the task is done now, if the task knows; it is only for
    evaluating the judge.

    Args:
        arm: Arm to move.
        cameras: Cameras to observe instead of the task's objects, or None.
        task: Task to solve.
        workspace: Box for the TCP's command.
        control_hz: Control steps per second [Hz].
        step_size: Largest step of the TCP along each axis [m].
        reward: Kind of reward: "sparse" is 1 on success and 0 before; "dense" adds the change of
            the task's progress in each step, so that lingering is worth nothing. Both terminate on
            success. "external" is always 0 and never terminates: a success classifier or an
            operator, in a wrapper around this environment, judges.

    Raises:
        ValueError: If an option is out of its range.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's declaration)

    def __init__(
        self,
        arm: Arm,
        cameras: Cameras | None,
        task: Task,
        *,
        workspace: Workspace | None = None,
        control_hz: float = 10.0,
        step_size: float = 0.02,
        reward: str = "sparse",
    ) -> None:
        self.arm = arm
        self.cameras = cameras
        self.task = task
        self.workspace = workspace or Workspace()
        self.control_hz = number("control_hz", control_hz, 1.0, 50.0)
        self.step_size = number("step_size", step_size, 0.001, 0.05)
        self.gripper_step = GRIPPER_SPEED / self.control_hz
        """Largest step of the gripper's command [rad]."""
        self._reward = one_of("reward", reward, REWARDS)
        self._kinematics = Kinematics()
        self._tcp = np.zeros(3)
        self._tcp_command = np.zeros(3)
        self._gripper_command = 0.0
        self._progress = 0.0
        self._state = ArmState(np.zeros(6), np.zeros(6), np.zeros(6))
        self._state_low, self._state_high = self._state_bounds()
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        self.observation_space = self._make_observation_space()

    @property
    def return_bounds(self) -> tuple[float, float] | None:
        """Lowest and highest return of an episode; None if the reward is dense.

        A judge outside of the environment gives 1 on success and 0 before, like the sparse reward.
        """
        return None if self._reward == "dense" else RETURN_BOUNDS

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode that is not yet solved.

        Args:
            seed: Seed of this and all later starts; None continues the random stream.
            options: Options of the reset: "joint_positions", the arm's start in place of the
                task's, shape (6,) [rad].

        Raises:
            ValueError: If there is another option, or the angles are not six finite numbers.
            RuntimeError: If 100 starts in a row were already successes.
            CameraError: If a camera's frame is missing, misshapen or black.
        """
        super().reset(seed=seed)
        given = checked_start(options or {})
        for _ in range(_MAX_STARTS):
            start = self.task.start(self.np_random)
            self.arm.reset(start if given is None else given)
            self._read_arm()
            succeeded = self.task.succeeded()
            if not succeeded:
                break
        else:
            raise RuntimeError(
                f"{_MAX_STARTS} starts in a row were already solved: check where the task puts "
                "its objects and how its success is decided"
            )
        self.synchronize()
        self._gripper_command = float(self._state.positions[-1])
        self._progress = self.task.progress()
        return self._observe(), self._info(succeeded)

    def step(self, action: ArrayLike) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move for one control period.

        Args:
            action: Action, shape (4,), clipped to [-1, 1].

        Raises:
            ValueError: If the action has another shape or an entry that is not finite.
            CameraError: If a camera's frame is missing, misshapen or black.
        """
        self._command(checked_action(action))
        self._read_arm()
        succeeded = self.task.succeeded()
        terminated = bool(succeeded) and self._reward != "external"
        reward = float(terminated)
        if self._reward == "dense":
            progress = self.task.progress()
            reward += progress - self._progress
            self._progress = progress
        return self._observe(), reward, terminated, False, self._info(succeeded)

    def synchronize(self) -> None:
        """Set the TCP's command to the measured TCP, as every change of control needs it.

        The gripper's command stays, since resetting it would open a grasp.
        """
        self._tcp_command = clamp(self.tcp, self.workspace)
        self.arm.handover()

    def look(self) -> Observation:
        """Read arm and cameras again, as after a wait, and set the command to where the arm is.

        Raises:
            CameraError: If a camera's frame is missing, misshapen or black.
        """
        self._read_arm()
        self.synchronize()
        return self._observe()

    @property
    def tcp(self) -> NDArray[np.float64]:
        """Measured tool centre point, shape (3,) [m]."""
        return self._tcp.copy()

    @property
    def tcp_command(self) -> NDArray[np.float64]:
        """Last command of the TCP, shape (3,) [m]."""
        return self._tcp_command.copy()

    @property
    def gripper_command(self) -> float:
        """Last command of the gripper's joint [rad]."""
        return self._gripper_command

    @property
    def joint_positions(self) -> NDArray[np.float64]:
        """Measured joint angles, shape (6,) [rad]."""
        return self._state.positions.copy()

    @property
    def gripper_opening(self) -> float:
        """Measured angle of the gripper's joint [rad]."""
        return float(self._state.positions[-1])

    def close(self) -> None:
        """Release the arm and the cameras."""
        try:
            self.arm.close()
        finally:
            if self.cameras is not None:
                self.cameras.close()

    def _read_arm(self) -> None:
        self._state = self.arm.read()
        self._tcp = self._kinematics.forward(self._state.positions)

    def _command(self, action: NDArray[np.float64]) -> None:
        step = action[:3] * self.step_size
        self._tcp_command = clamp(self._tcp_command + step, self.workspace)
        opening = self._gripper_command + action[3] * self.gripper_step
        reachable = np.clip(
            opening, self.gripper_opening - _GRIPPER_LEAD, self.gripper_opening + _GRIPPER_LEAD
        )
        low, high = self._kinematics.joint_limits
        self._gripper_command = float(np.clip(reachable, low[-1], high[-1]))
        self.arm.command(self._kinematics.inverse(self._tcp_command, self._gripper_command))

    def _state_bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        low, high = self._kinematics.joint_limits
        limits = np.repeat([_MAX_VELOCITY, _MAX_CURRENT], 6)
        return (
            np.concatenate([low, -limits, self.workspace.low - STATE_MARGIN]),
            np.concatenate([high, limits, self.workspace.high + STATE_MARGIN]),
        )

    def _make_observation_space(self) -> spaces.Dict:
        entries: dict[str, spaces.Space[Any]] = {"state": _box(self._state_low, self._state_high)}
        if self.cameras is None:
            bounds = self.task.object_bounds()
            if bounds is not None:
                entries["objects"] = _box(*bounds)
        else:
            for name, shape in self.cameras.shapes.items():
                entries[name] = spaces.Box(0, 255, shape, np.uint8)
        return spaces.Dict(entries)

    def _observe(self) -> Observation:
        state = np.concatenate(
            [self._state.positions, self._state.velocities, self._state.currents, self.tcp]
        )
        observation: Observation = {"state": _fit(state, self.observation_space["state"])}
        if "objects" in self.observation_space.spaces:
            objects = self.task.objects()
            observation["objects"] = _fit(objects, self.observation_space["objects"])
        if self.cameras is not None:
            frames = self.cameras.read()
            check_frames(frames, self.cameras.shapes)
            observation.update(frames)
        return observation

    def _info(self, succeeded: bool | None) -> dict[str, Any]:
        judged_outside = self._reward == "external"
        info = {
            "is_intervention": False,
            "teleop_action": np.zeros(ACTION_SIZE, np.float32),
            "succeed": bool(succeeded) and not judged_outside,
            "start": self.task.start_name(),
        }
        if judged_outside and succeeded is not None:
            info["task_succeed"] = succeeded
        return info


def _box(low: NDArray[np.float64], high: NDArray[np.float64]) -> spaces.Box:
    return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def _fit(values: NDArray[np.float64], space: spaces.Space[Any]) -> NDArray[np.float32]:
    assert isinstance(space, spaces.Box)
    return np.clip(values.astype(np.float32), space.low, space.high)
