"""Pick & Place Cube: bring a cube to a target on the table and release it."""

import numpy as np

from envs.tasks.base import (
    FloatArray,
    Subgoal,
    random_yaw,
    relative_bounds,
    stack_bounds,
)
from envs.tasks.grasping import GraspingTask

_PLACE_RADIUS = 0.025  # [m]
_PLACE_HEIGHT = 0.010  # [m] above rest
_RELEASE_RADIUS = 0.012  # [m]: nearer than success needs, as the cube may slip on release
_RELEASE_HEIGHT = 0.004  # [m] above rest
_LOWER_TO = 0.001  # [m] above rest
_REACHING, _HOLDING, _CARRYING = 0.3, 0.4, 0.8  # progress when reached, grasped, at the target
_FARTHEST = 0.3  # [m]


class PickPlaceCube(GraspingTask):
    """Pick & Place Cube. Success: the cube is at rest within 25 mm of the target, released.

    ``objects``, shape (17,): the cube's features (11, see ``GraspingTask``), the target's position
    (3) and the vector from the cube to it (3) [m]. Cube and target start anywhere in the workspace,
    60 mm or more apart.

    Attributes:
        target: Goal of the cube's centre, shape (3,) [m].
    """

    has_marker = True
    target: FloatArray

    def lay_out(self, rng: np.random.Generator) -> None:
        """Place the cube, turned at random, and the target."""
        place = self.random_position(rng)
        target = self.random_position(rng, apart_from=place)
        self.scene.place_cube(0, place[0], place[1], random_yaw(rng))
        self.scene.place_marker(target[0], target[1])
        self.target = np.array([target[0], target[1], self.rest_height()])

    def object_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and the highest values of ``objects``."""
        return stack_bounds(self.cube_bounds(), self.position_bounds(), relative_bounds())

    def objects(self) -> FloatArray:
        """Return the cube's features, the target and the vector to it, shape (17,)."""
        to_target = self.target - self.scene.cube_position(0)
        return np.concatenate([self.cube_features(), self.target, to_target])

    def succeeded(self) -> bool:
        """Return whether the cube is at rest at the target, released."""
        return self._at_target(_PLACE_RADIUS, _PLACE_HEIGHT) and self.static() and self.released()

    def progress(self) -> float:
        """Return up to 0.3 for nearness, 0.4 to 0.8 while it is carried, more once released."""
        if self._at_target(_PLACE_RADIUS, _PLACE_HEIGHT):
            if self.succeeded():
                return 1.0
            return _CARRYING if self.scene.grasped(0) else (1.0 + _CARRYING) / 2
        if not self.scene.grasped(0):
            return _REACHING * self.distance_progress(0)
        distance = float(np.linalg.norm(self.target - self.scene.cube_position(0)))
        return _HOLDING + (_CARRYING - _HOLDING) * max(0.0, 1.0 - distance / _FARTHEST)

    def remaining(self) -> float:
        """Return the way that remains to release the cube at the target [m]."""
        return self.way_to_place(self.target, self._at_target(_PLACE_RADIUS, _PLACE_HEIGHT))

    def subgoal(self) -> Subgoal:
        """Return the next step: grasp, carry, release."""
        if self._at_target(_RELEASE_RADIUS, _RELEASE_HEIGHT):
            return self.release_subgoal()
        if not self.held():
            if self._at_target(_PLACE_RADIUS, _PLACE_HEIGHT):
                return self.release_subgoal()
            return self.grasp_subgoal()
        return self.carry_subgoal(self.target + np.array([0.0, 0.0, _LOWER_TO]))

    def _at_target(self, radius: float, height: float) -> bool:
        offset = self.scene.cube_position(0) - self.target
        return bool(np.linalg.norm(offset[:2]) <= radius and offset[2] < height)
