"""Scripted expert that follows the subgoals of a simulated task from any state."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.checked import ACTION_SIZE
from envs.tasks.base import SimulatedTask, Subgoal
from envs.workspace import Workspace

# A funnel above the subgoal: within this distance from its vertical, the way leads down [m].
_CENTRED = 0.004
_STEEPNESS = 3.0  # rise of the funnel per metre of distance from there
_BELOW = 0.015  # [m]: distance below the funnel at which the way leads straight up


class Watched(Protocol):
    """Watched arm and task: ``envs.so101.SO101Env``, or a scene by itself."""

    workspace: Workspace
    control_hz: float
    step_size: float
    gripper_step: float

    @property
    def task(self) -> Any:
        """Task of the arm."""
        ...

    @property
    def tcp(self) -> NDArray[np.float64]:
        """Tool centre point, shape (3,) [m]."""
        ...

    @property
    def gripper_opening(self) -> float:
        """Angle of the gripper's joint [rad]."""
        ...


class Expert:
    """Expert whose action leads toward the task's next subgoal, given the current scene.

    It has no memory: it can take over at any moment and continue when a cube was knocked or
    dropped.

    Args:
        env: Environment to act in, with a simulated task.

    Raises:
        TypeError: If the environment's task is not a simulated one, as only those have subgoals.
    """

    def __init__(self, env: Watched) -> None:
        if not isinstance(env.task, SimulatedTask):
            raise TypeError(
                f"a scripted expert needs a simulated task with subgoals, got {env.task!r}: use a "
                "leader arm on hardware"
            )
        self._env = env
        self._task = env.task

    def act(self) -> NDArray[np.float64]:
        """Return the expert's action, shape (4,), each entry in [-1, 1]."""
        subgoal = self._task.subgoal()
        action = np.zeros(ACTION_SIZE)
        step = (waypoint(subgoal, self._env.tcp) - self._env.tcp) / self._env.step_size
        # Scaled as a whole, since clipping single entries would bend the path.
        action[:3] = step / max(1.0, float(np.abs(step).max()))
        if subgoal.gripper is not None:
            opening = subgoal.gripper - self._env.gripper_opening
            action[3] = np.clip(opening / self._env.gripper_step, -1.0, 1.0)
        return action


def waypoint(subgoal: Subgoal, tcp: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the next point on the way to a subgoal: up, across, then down, in one smooth bend.

    The needed height rises with the distance from the subgoal's vertical, up to the clearance. Like
    the way of a hand it has no corners: at a corner one step further means the opposite action, and
    a policy that imitates the mean of the two stands still there.

    Args:
        subgoal: Goal of the way.
        tcp: Current TCP, shape (3,) [m].
    """
    goal = subgoal.tcp
    if subgoal.clearance is None:
        return goal
    away = goal[:2] - tcp[:2]
    off_centre = max(0.0, float(np.linalg.norm(away)) - _CENTRED)
    height = min(goal[2] + _STEEPNESS * off_centre, max(subgoal.clearance, goal[2]))
    share = float(np.clip(1.0 - (height - tcp[2]) / _BELOW, 0.0, 1.0))
    return np.array([*(tcp[:2] + share * away), height])
