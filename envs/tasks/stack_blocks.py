"""Stack Blocks: put one cube on another and release it."""

import math

import numpy as np

from envs.tasks.base import (
    FloatArray,
    Subgoal,
    random_yaw,
    relative_bounds,
    stack_bounds,
)
from envs.tasks.grasping import GraspingTask, yaw_features

_STACK_MARGIN = 0.005  # [m] beyond half the diagonal of the lower cube
_STACK_HEIGHT_ERROR = 0.005  # [m]
_ARM_STATIC = 0.2  # [rad/s]
_RELEASE_RADIUS = 0.006  # [m]
_RELEASE_HEIGHT = 0.004  # [m]
_LOWER_TO = 0.001  # [m]
_REACHING, _HOLDING, _CARRYING = 0.3, 0.4, 0.8  # progress when reached, grasped, on top
_FARTHEST = 0.3  # [m]


class StackBlocks(GraspingTask):
    """Stack Blocks. Success: cube 0 is on cube 1, released, and it and the arm are at rest.

    ``objects``, shape (22,): features of cube 0 (11, see ``GraspingTask``); of cube 1 its centre
    (3), the vector from the TCP to it (3) [m], sine and cosine of four times its yaw; the vector
    from cube 0 to its place on cube 1 (3) [m]. Both start anywhere, 60 mm or more apart.
    """

    num_cubes = 2

    def lay_out(self, rng: np.random.Generator) -> None:
        """Place both cubes, turned at random."""
        first = self.random_position(rng)
        second = self.random_position(rng, apart_from=first)
        self.scene.place_cube(0, first[0], first[1], random_yaw(rng))
        self.scene.place_cube(1, second[0], second[1], random_yaw(rng))

    def object_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and the highest values of ``objects``."""
        return stack_bounds(
            self.cube_bounds(),
            self.position_bounds(),
            relative_bounds(),
            (-np.ones(2), np.ones(2)),
            relative_bounds(),
        )

    def objects(self) -> FloatArray:
        """Return the features of both cubes, shape (22,)."""
        base = self.scene.cube_position(1)
        return np.concatenate(
            [
                self.cube_features(),
                base,
                base - self.scene.tcp(),
                yaw_features(self.scene.cube_rotation(1)),
                -self._offset(),
            ]
        )

    def succeeded(self) -> bool:
        """Return whether cube 0 stands on cube 1, released, and nothing moves."""
        return (
            self._on_top()
            and self.static()
            and self.scene.arm_speed() < _ARM_STATIC
            and self.released()
        )

    def progress(self) -> float:
        """Return up to 0.3 for nearness, 0.4 to 0.8 while cube 0 is carried, more once released."""
        if self._on_top():
            if self.succeeded():
                return 1.0
            return _CARRYING if self.scene.grasped(0) else (1.0 + _CARRYING) / 2
        if not self.scene.grasped(0):
            return _REACHING * self.distance_progress(0)
        distance = float(np.linalg.norm(self._offset()))
        return _HOLDING + (_CARRYING - _HOLDING) * max(0.0, 1.0 - distance / _FARTHEST)

    def remaining(self) -> float:
        """Return the way that remains to release cube 0 on cube 1 [m]."""
        return self.way_to_place(self.scene.cube_position(0) - self._offset(), self._on_top())

    def subgoal(self) -> Subgoal:
        """Return the next step: grasp cube 0, carry it over cube 1, release it."""
        offset = self._offset()
        centred = np.linalg.norm(offset[:2]) <= _RELEASE_RADIUS
        if centred and abs(offset[2]) < _RELEASE_HEIGHT:
            return self.release_subgoal()
        if not self.held():
            return self.release_subgoal() if self._on_top() else self.grasp_subgoal()
        place = self.scene.cube_position(0) - offset
        return self.carry_subgoal(place + np.array([0.0, 0.0, _LOWER_TO]))

    def _offset(self) -> FloatArray:
        """Return the offset of cube 0 from its place on cube 1, shape (3,) [m]."""
        rise = self.scene.cube_half(0) + self.scene.cube_half(1)
        place = self.scene.cube_position(1) + np.array([0.0, 0.0, rise])
        return self.scene.cube_position(0) - place

    def _on_top(self) -> bool:
        offset = self._offset()
        radius = math.sqrt(2.0) * self.scene.cube_half(1) + _STACK_MARGIN
        return bool(np.linalg.norm(offset[:2]) <= radius and abs(offset[2]) <= _STACK_HEIGHT_ERROR)
