"""Touch Cube: bring the gripper to a cube on the table."""

import numpy as np

from envs.options import one_of
from envs.sim.scene import Scene
from envs.tasks.base import (
    FloatArray,
    SimulatedTask,
    Subgoal,
    random_yaw,
    relative_bounds,
    stack_bounds,
)
from envs.workspace import Workspace

CUBE_POSITIONS = ("fixed", "workspace")
"""Start of the cube: one of two fixed places, or anywhere in the workspace."""

# Fractions of the workspace along x and y; the paper places its cube at two fixed positions.
_FIXED = np.array([[0.45, 0.2], [0.45, 0.8]])
_FIXED_NAMES = ("right", "left")  # as seen by the arm
_POSITION_NOISE = 0.005  # [m]
_TOUCH_DISTANCE = 0.005  # [m]


class TouchCube(SimulatedTask):
    """Touch Cube. Success: a jaw touches the cube, or the TCP is within 5 mm of its surface.

    ``objects``, shape (6,): the cube's centre (3) and the vector from the TCP to it (3) [m].

    Args:
        scene: Scene of the task.
        workspace: Box in which the cube starts.
        cube_positions: Start of the cube: "fixed" for one of two places, "workspace" for any.

    Raises:
        ValueError: If ``cube_positions`` is neither.
    """

    def __init__(
        self, scene: Scene, workspace: Workspace, *, cube_positions: str = "fixed"
    ) -> None:
        super().__init__(scene, workspace)
        self._anywhere = one_of("cube_positions", cube_positions, CUBE_POSITIONS) == "workspace"
        self._start_name = ""

    def fixed_positions(self) -> FloatArray:
        """Return the two fixed places of the cube, shape (2, 2): x and y [m]."""
        low, high = self.workspace.low[:2], self.workspace.high[:2]
        return low + _FIXED * (high - low)

    def lay_out(self, rng: np.random.Generator) -> None:
        """Place the cube, turned at random."""
        if self._anywhere:
            place = self.random_position(rng)
        else:
            which = rng.integers(2)
            self._start_name = _FIXED_NAMES[which]
            place = self.fixed_positions()[which]
            place = place + rng.uniform(-_POSITION_NOISE, _POSITION_NOISE, 2)
        self.scene.place_cube(0, place[0], place[1], random_yaw(rng))

    def start_name(self) -> str:
        """Return the fixed place of the cube: "left" or "right" of the arm."""
        return self._start_name

    def object_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and the highest values of ``objects``."""
        return stack_bounds(self.position_bounds(), relative_bounds())

    def objects(self) -> FloatArray:
        """Return the cube's centre and the vector from the TCP to it, shape (6,) [m]."""
        cube = self.scene.cube_position(0)
        return np.concatenate([cube, cube - self.scene.tcp()])

    def succeeded(self) -> bool:
        """Return whether the gripper touches the cube, at least nearly."""
        return self.scene.touched(0) or self.scene.distance_to_cube(0) <= _TOUCH_DISTANCE

    def progress(self) -> float:
        """Return 1 at the cube, decreasing by 1 per 0.3 m of distance to its surface."""
        return 1.0 if self.succeeded() else self.distance_progress(0)

    def remaining(self) -> float:
        """Return the distance to the cube's surface [m]."""
        return self.scene.distance_to_cube(0)

    def subgoal(self) -> Subgoal:
        """Return the cube itself, since any touch is a success."""
        return Subgoal(tcp=self.cube_position_in_reach(0))
