"""Base class of the simulated tasks."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.kinematics import HOME
from envs.sim.scene import Scene
from envs.workspace import Workspace

FloatArray = NDArray[np.float64]

EDGE = 0.015
"""Least distance of a cube's start from the sides of the workspace [m]."""

SEPARATION = 0.06
"""Least distance between the starts of two cubes, or a cube and its target [m]; the jaws fit in."""

POSITION_MARGIN = 0.02
"""Distance beyond the workspace up to which positions are observed [m]."""

_START_NOISE = 0.05  # [rad] on each joint
_MAX_RELATIVE = 0.2  # [m]: largest observed relative position
_PAN_AXIS = np.array([0.0388353, 0.0])  # [m]
_REACH = 0.283  # [m] from the pan axis: farthest place where the gripper looks straight down
_FARTHEST = 0.3  # [m]: distance without any progress
_HIGHEST_BOTTOM = 0.02  # [m]: the jaws still take a cube by its upper half
_MAX_DRAWS = 1000


@dataclass(frozen=True)
class Subgoal:
    """Next goal of the arm on the way to success.

    Attributes:
        tcp: Wanted tool centre point, shape (3,) [m].
        gripper: Wanted angle of the gripper's joint [rad]; None leaves it as it is.
        clearance: Travel height until the TCP is above ``tcp`` [m]; None for a straight way.
    """

    tcp: FloatArray
    gripper: float | None = None
    clearance: float | None = None


class SimulatedTask(ABC):
    """Task in a ``Scene``; implements ``envs.interfaces.Task``.

    A subclass defines the number of cubes, their start, success, the progress for the reward, what
    remains for a watching person, and the next subgoal. All of these are functions of the current
    scene, so that an expert or a person can take over at any moment.

    Args:
        scene: Scene of the task.
        workspace: Box in which the cubes start.

    Raises:
        ValueError: If the workspace ends too high above the table or too low for the task.
    """

    lowest_top = 0.03
    """Least height that the workspace must reach [m]."""

    num_cubes = 1
    """Number of cubes."""

    has_marker = False
    """Whether a disc on the table shows a target."""

    def __init__(self, scene: Scene, workspace: Workspace) -> None:
        if workspace.z[0] > _HIGHEST_BOTTOM or workspace.z[1] < self.lowest_top:
            raise ValueError(
                f"{type(self).__name__} needs a workspace.z that begins at {_HIGHEST_BOTTOM} m or "
                f"below and ends at {self.lowest_top} m or above, got {list(workspace.z)}"
            )
        self.scene = scene
        self.workspace = workspace

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Lay out the scene and return the arm's start, joint angles of shape (6,) [rad]."""
        self.scene.begin(rng)
        self.lay_out(rng)
        return HOME + rng.uniform(-_START_NOISE, _START_NOISE, HOME.shape)

    def start_name(self) -> str:
        """Return the name of the start's variant, "" for tasks with only one."""
        return ""

    @abstractmethod
    def lay_out(self, rng: np.random.Generator) -> None:
        """Place the cubes and the target for a new episode."""

    @abstractmethod
    def object_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and the highest values of ``objects``."""

    @abstractmethod
    def objects(self) -> FloatArray:
        """Return the privileged state of the scene, a vector."""

    @abstractmethod
    def succeeded(self) -> bool:
        """Return whether the task is done now."""

    @abstractmethod
    def progress(self) -> float:
        """Return the progress of the task, from 0 to 1 (done)."""

    @abstractmethod
    def remaining(self) -> float:
        """Return the remaining way of the task [m], see ``envs.tasks.remaining``."""

    @abstractmethod
    def subgoal(self) -> Subgoal:
        """Return the next goal of the arm on the way to success."""

    def random_position(
        self, rng: np.random.Generator, apart_from: FloatArray | None = None
    ) -> FloatArray:
        """Draw a point on the table for a cube or a target.

        Args:
            rng: Random generator.
            apart_from: Point (x, y) to keep ``SEPARATION`` from [m].

        Returns:
            A point (x, y) [m] in the workspace, ``EDGE`` from its sides, where the gripper can look
            straight down.

        Raises:
            RuntimeError: If the workspace has no such point.
        """
        low, high = self.workspace.low[:2] + EDGE, self.workspace.high[:2] - EDGE
        for _ in range(_MAX_DRAWS):
            point = rng.uniform(low, high)
            too_near = apart_from is not None and np.linalg.norm(point - apart_from) < SEPARATION
            if np.linalg.norm(point - _PAN_AXIS) <= _REACH and not too_near:
                return point
        raise RuntimeError(
            f"no free place for a cube in {self.workspace}: {_REACH} m from the arm's pan axis is "
            "as far as the gripper can look straight down; widen the workspace toward the arm"
        )

    def position_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and highest observed position, each of shape (3,) [m]."""
        return self.workspace.low - POSITION_MARGIN, self.workspace.high + POSITION_MARGIN

    def cube_position_in_reach(self, index: int) -> FloatArray:
        """Return a cube's centre, raised to the TCP's lowest height, shape (3,) [m]."""
        position = self.scene.cube_position(index)
        position[2] = max(position[2], self.workspace.z[0])
        return position

    def distance_progress(self, index: int) -> float:
        """Return 1 at a cube, decreasing by 1 per 0.3 m of distance to its surface, at least 0."""
        return max(0.0, 1.0 - self.scene.distance_to_cube(index) / _FARTHEST)


def random_yaw(rng: np.random.Generator) -> float:
    """Draw a cube's yaw [rad]; a quarter turn covers all of them."""
    return float(rng.uniform(-math.pi / 4, math.pi / 4))


def relative_bounds() -> tuple[FloatArray, FloatArray]:
    """Return the lowest and highest observed relative position, each of shape (3,) [m]."""
    return np.full(3, -_MAX_RELATIVE), np.full(3, _MAX_RELATIVE)


def stack_bounds(
    *bounds: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """Concatenate bounds of parts of a vector."""
    lows, highs = zip(*bounds, strict=True)
    return np.concatenate(lows), np.concatenate(highs)
