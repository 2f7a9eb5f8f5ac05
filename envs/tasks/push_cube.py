"""Push Cube: push a cube along the table to a target."""

import numpy as np

from envs.tasks.base import (
    FloatArray,
    SimulatedTask,
    Subgoal,
    random_yaw,
    relative_bounds,
    stack_bounds,
)
from envs.tasks.grasping import CLOSED, OPEN, TRAVEL_HEIGHT
from envs.tasks.remaining import turn
from envs.workspace import clamp

_TARGET_RADIUS = 0.025  # [m]
_LIFTED = 0.005  # [m] above the table: the cube is carried then, not pushed
_TIPS = np.array([-0.0185, 0.0, 0.0])  # [m] from the TCP to the middle of the closed tips
_CLOSED_ENOUGH = 0.0  # [rad]: no cube fits between the jaws
_BEHIND = 0.03  # [m] from the cube's centre: the tips come down there without touching it
_HEIGHT = 0.012  # [m] of the TCP in a push
_LOW = 0.01  # [m] above that height: the tips still meet the cube
_STEP = 0.02  # [m]
_PAST = 0.01  # [m] behind the cube's centre: nearer, the tips are on top of it
_SIDEWAYS = 0.018  # [m] off the line of the push: farther off, they slide past the cube
_STEERING = 0.5  # share of the way back to that line in a step
_REACHING, _PUSHING = 0.3, 0.6  # shares of the progress before success
_FARTHEST = 0.3  # [m]
_NEAR = 0.05  # [m]: nearer, a way around the cube is no step back
_MAX_DRAWS = 1000


class PushCube(SimulatedTask):
    """Success: the cube is on the table within 25 mm of the target.

    `objects`, shape (12,): the cube's centre (3), the vector from the TCP to it (3), the target's
    position (3) and the vector from the cube to it (3) [m]. Cube and target start anywhere in the
    workspace, 60 mm or more apart, with room for the gripper behind the cube.

    Attributes:
        target: where the cube's centre belongs, shape (3,) [m].
    """

    lowest_top = 0.08
    has_marker = True
    target: FloatArray

    def lay_out(self, rng: np.random.Generator) -> None:
        """Place the cube, turned at random, and the target.

        Raises:
            RuntimeError: if the workspace is too small for a push.
        """
        low, high = self.workspace.low[:2], self.workspace.high[:2]
        for _ in range(_MAX_DRAWS):
            place = self.random_position(rng)
            target = self.random_position(rng, apart_from=place)
            behind = place - _BEHIND * _direction(target - place) - _TIPS[:2]
            if (behind >= low).all() and (behind <= high).all():
                break
        else:
            raise RuntimeError(
                f"no room behind a cube in {self.workspace}: widen the workspace along x or y"
            )
        self.scene.place_cube(0, place[0], place[1], random_yaw(rng))
        self.scene.place_marker(target[0], target[1])
        self.target = np.array([target[0], target[1], self.scene.cube_half(0)])

    def object_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and the highest values of `objects`."""
        position, relative = self.position_bounds(), relative_bounds()
        return stack_bounds(position, relative, position, relative)

    def objects(self) -> FloatArray:
        """Return the cube, the target and the vectors to them, shape (12,) [m]."""
        cube = self.scene.cube_position(0)
        return np.concatenate([cube, cube - self.scene.tcp(), self.target, self.target - cube])

    def succeeded(self) -> bool:
        """Return whether the cube is at the target, on the table."""
        lifted = self.scene.cube_position(0)[2] - self.target[2] > _LIFTED
        return not lifted and self._left() <= _TARGET_RADIUS

    def progress(self) -> float:
        """Return a sum of nearness to the cube (0.3) and of the cube to the target (0.6)."""
        if self.succeeded():
            return 1.0
        pushed = max(0.0, 1.0 - self._left() / _FARTHEST)
        return _REACHING * self.distance_progress(0) + _PUSHING * pushed

    def remaining(self) -> float:
        """Return what is left until the cube is at the target [m]: closing, reaching, pushing."""
        if self.succeeded():
            return 0.0
        away = float(np.linalg.norm(self.scene.tcp() - self._tcp_at_cube()))
        closing = turn(self.scene.gripper_opening() - _CLOSED_ENOUGH)
        return closing + max(0.0, away - _NEAR) + max(0.0, self._left() - _TARGET_RADIUS)

    def subgoal(self) -> Subgoal:
        """Return the next step: close the jaws above the table, get behind the cube, push it."""
        tcp, at_cube = self.scene.tcp(), self._tcp_at_cube()
        if self.scene.grasped(0):
            return Subgoal(tcp=tcp, gripper=OPEN)
        to_target = np.append((self.target - self.scene.cube_position(0))[:2], 0.0)
        # At a side of the workspace there is no room behind the cube: the push is oblique then.
        behind = clamp(at_cube - _BEHIND * _direction(to_target), self.workspace)
        ahead = _direction(at_cube - behind)
        along = float((tcp - at_cube) @ ahead)
        sideways = tcp - at_cube - along * ahead
        sideways[2] = 0.0
        in_line = along < -_PAST and float(np.linalg.norm(sideways)) < _SIDEWAYS
        if in_line and tcp[2] < at_cube[2] + _LOW:
            goal = tcp + ahead * min(_STEP, self._left()) - _STEERING * sideways
            goal[2] = at_cube[2]
            return Subgoal(tcp=goal, gripper=CLOSED)
        if self.scene.gripper_opening() > _CLOSED_ENOUGH:
            behind[2] = TRAVEL_HEIGHT
        return Subgoal(tcp=behind, gripper=CLOSED, clearance=TRAVEL_HEIGHT)

    def _left(self) -> float:
        """Return the distance of the cube to the target along the table [m]."""
        return float(np.linalg.norm((self.target - self.scene.cube_position(0))[:2]))

    def _tcp_at_cube(self) -> FloatArray:
        """Return the TCP, shape (3,) [m], that has the closed tips in the cube's centre."""
        position = self.scene.cube_position(0) - _TIPS
        position[2] = max(_HEIGHT, self.workspace.z[0])
        return position


def _direction(vector: FloatArray) -> FloatArray:
    """Return a vector of length 1; a null vector stays one."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
