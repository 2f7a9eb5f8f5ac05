"""Pick Cube: grasp a cube and lift it."""

import numpy as np

from envs.tasks.base import FloatArray, Subgoal, random_yaw
from envs.tasks.grasping import CLOSED, GraspingTask

_LIFT = 0.05  # [m]; a gripper that looks straight down cannot go above z = 0.085
_LIFT_MARGIN = 0.01  # [m] that the subgoal asks for beyond success
_REACHING, _GRASPING = 0.4, 0.2  # shares of the progress; lifting has the rest


class PickCube(GraspingTask):
    """Pick Cube. Success: the cube is grasped and more than 50 mm above its place.

    ``objects``, shape (11,): the cube's features, see ``GraspingTask``. The cube starts anywhere in
    the workspace.
    """

    def lay_out(self, rng: np.random.Generator) -> None:
        """Place the cube anywhere, turned at random."""
        place = self.random_position(rng)
        self.scene.place_cube(0, place[0], place[1], random_yaw(rng))

    def object_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and the highest values of ``objects``."""
        return self.cube_bounds()

    def objects(self) -> FloatArray:
        """Return the cube's features, shape (11,)."""
        return self.cube_features()

    def succeeded(self) -> bool:
        """Return whether the cube is held high enough."""
        return self._lifted() > _LIFT and self.scene.grasped(0)

    def progress(self) -> float:
        """Return a sum of nearness (0.4), grasp (0.2) and, while grasped, height (0.4)."""
        if not self.scene.grasped(0):
            return _REACHING * self.distance_progress(0)
        height = float(np.clip(self._lifted() / _LIFT, 0.0, 1.0))
        return _REACHING + _GRASPING + (1.0 - _REACHING - _GRASPING) * height

    def remaining(self) -> float:
        """Return the way that remains to grasp and lift the cube [m]."""
        return self.way_to_grasp() + max(0.0, _LIFT - self._lifted())

    def subgoal(self) -> Subgoal:
        """Return the next step: grasp, then lift."""
        if not self.held():
            return self.grasp_subgoal()
        rise = _LIFT + _LIFT_MARGIN - self._lifted()
        return Subgoal(tcp=self.scene.tcp() + np.array([0.0, 0.0, rise]), gripper=CLOSED)

    def _lifted(self) -> float:
        return float(self.scene.cube_position(0)[2]) - self.rest_height()
