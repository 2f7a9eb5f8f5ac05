"""Base class of the tasks that grasp a cube: features, and subgoals to grasp and release."""

import math

import numpy as np

from envs.tasks.base import (
    FloatArray,
    SimulatedTask,
    Subgoal,
    relative_bounds,
    stack_bounds,
)
from envs.tasks.remaining import turn, way

TRAVEL_HEIGHT = 0.065
"""Travel height of the TCP, at which a held cube passes over another one [m]."""

OPEN = 0.4
"""Angle of the gripper with a gap of 48 mm, wide enough for a cube in any yaw [rad]."""

CLOSED = -0.174533
"""Goal angle of a closing gripper [rad]; a cube stops it near 0.1."""

_OPEN_ENOUGH = 0.3  # [rad]: 40 mm, more than a cube's diagonal
_ALMOST_CLOSED = 0.35  # [rad]: a grasp has begun
_AROUND_CUBE = 0.1  # [rad]: the jaws have closed on a cube
# Range of a cube's centre between the jaws, in the gripper's coordinates [m].
_BETWEEN_LOW = np.array([-0.012, -0.009, -0.012])
_BETWEEN_HIGH = np.array([0.030, 0.009, 0.012])
_SLACK = 0.008  # [m] by which a held cube may leave that range
_DEEP = 0.005  # [m]: height of the TCP above the cube's centre at which a grasp begins
_STATIC_LINEAR = 0.01  # [m/s]
_STATIC_ANGULAR = 0.5  # [rad/s]


class GraspingTask(SimulatedTask):
    """Task in which cube 0 is grasped.

    Its features are 11 numbers: the cube's centre (3) and the vector from the TCP to it (3)
    [m]; sine and cosine of four times its yaw, since a quarter turn maps it to itself; whether the
    fixed jaw touches it, whether the moving jaw does, whether it is grasped (1 or 0).
    """

    lowest_top = 0.08

    def cube_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and the highest values of ``cube_features``."""
        return stack_bounds(
            self.position_bounds(),
            relative_bounds(),
            (-np.ones(2), np.ones(2)),
            (np.zeros(3), np.ones(3)),
        )

    def cube_features(self) -> FloatArray:
        """Return the features of cube 0, shape (11,)."""
        position = self.scene.cube_position(0)
        forces = self.scene.jaw_forces(0)
        flags = [0 in forces, 1 in forces, self.scene.grasped(0)]
        return np.concatenate(
            [
                position,
                position - self.scene.tcp(),
                yaw_features(self.scene.cube_rotation(0)),
                flags,
            ]
        )

    def rest_height(self) -> float:
        """Return the height of cube 0's centre when it lies on the table [m]."""
        return self.scene.cube_half(0)

    def static(self) -> bool:
        """Return whether cube 0 is at rest."""
        motion = self.scene.cube_motion(0)
        return motion.linear < _STATIC_LINEAR and motion.angular < _STATIC_ANGULAR

    def released(self) -> bool:
        """Return whether no jaw touches cube 0."""
        return not self.scene.touched(0)

    def held(self) -> bool:
        """Return whether the jaws' tips grasp cube 0; deep in the jaws it cannot be put down."""
        offset = self.scene.cube_between_jaws(0)
        near = (offset > _BETWEEN_LOW - _SLACK).all() and (offset < _BETWEEN_HIGH + _SLACK).all()
        return bool(near) and self.scene.grasped(0)

    def way_to_grasp(self) -> float:
        """Return the way that remains to grasp cube 0 [m]: approaching, opening, closing."""
        if self.scene.grasped(0):
            return 0.0
        opening = self.scene.gripper_opening()
        there = way(self.scene.tcp(), self.cube_position_in_reach(0), TRAVEL_HEIGHT)
        if self._between():
            return there + turn(min(opening, OPEN) - _AROUND_CUBE)
        return there + turn(_OPEN_ENOUGH - opening) + turn(OPEN - _AROUND_CUBE)

    def way_to_place(self, place: FloatArray, placed: bool) -> float:
        """Return the way that remains to release cube 0 at its place [m].

        Args:
            place: Goal of its centre, shape (3,) [m].
            placed: Whether it may be released now.
        """
        carrying = way(self.scene.cube_position(0), place, TRAVEL_HEIGHT)
        if placed:
            return carrying + turn(_OPEN_ENOUGH - self.scene.gripper_opening())
        return self.way_to_grasp() + carrying + turn(_OPEN_ENOUGH - _AROUND_CUBE)

    def grasp_subgoal(self) -> Subgoal:
        """Return the next step toward holding cube 0: open, get above, go down, close."""
        opening = self.scene.gripper_opening()
        cube = self.cube_position_in_reach(0)
        between = self._between()
        deep = self.scene.tcp()[2] - cube[2] < _DEEP
        if between and (deep or opening < _ALMOST_CLOSED):
            return Subgoal(tcp=self.scene.tcp(), gripper=CLOSED)
        if opening < _OPEN_ENOUGH and not between:
            cube[2] = max(cube[2], TRAVEL_HEIGHT)
        return Subgoal(tcp=cube, gripper=OPEN, clearance=TRAVEL_HEIGHT)

    def release_subgoal(self) -> Subgoal:
        """Return the next step toward releasing cube 0: open, then centre the jaws around it."""
        if self.scene.gripper_opening() < _OPEN_ENOUGH:
            return Subgoal(tcp=self.scene.tcp(), gripper=OPEN)
        cube = self.scene.cube_position(0)
        return Subgoal(tcp=np.array([cube[0], cube[1], self.scene.tcp()[2]]), gripper=OPEN)

    def carry_subgoal(self, goal: FloatArray) -> Subgoal:
        """Return the step that carries the held cube 0 to a place, shape (3,) [m]: over, then down.

        The goal of the TCP is as far from the TCP as the place is from the cube.
        """
        to_goal = goal - self.scene.cube_position(0)
        return Subgoal(tcp=self.scene.tcp() + to_goal, gripper=CLOSED, clearance=TRAVEL_HEIGHT)

    def _between(self) -> bool:
        """Return whether cube 0 is between the jaws, so that they only need to close."""
        offset = self.scene.cube_between_jaws(0)
        return bool((offset > _BETWEEN_LOW).all() and (offset < _BETWEEN_HIGH).all())


def yaw_features(rotation: FloatArray) -> FloatArray:
    """Return sine and cosine of four times a cube's yaw, shape (2,).

    Args:
        rotation: Rotation matrix of the cube in the world, shape (3, 3).
    """
    # Any edge that lies flat will do: they differ by quarter turns.
    edge = rotation[:, np.argmin(np.abs(rotation[2]))]
    angle = 4.0 * math.atan2(edge[1], edge[0])
    return np.array([math.sin(angle), math.cos(angle)])
