"""Table of a virtual arm, as a person who knows Touch Cube sees it."""

import numpy as np
from numpy.typing import NDArray

from envs.operators.person import Person
from envs.tasks.touch_cube import TouchCube
from envs.virtual.virtual_so101 import VirtualSO101
from envs.workspace import Workspace

FloatArray = NDArray[np.float64]

LOOKS = 10.0
"""Rate at which a person looks and decides [Hz]."""
FULL_SPEED = 0.2
"""Full speed of a hand that leads [m/s]."""

_ASIDE = 0.02  # distance from its place at which a cube counts as pushed [m]
_FREE = 0.05  # least distance of the jaws from a new place of the cube [m]
_DRAWS = 20
_GRIPPER_STEP = 0.1  # [rad]; nothing is grasped here


class VirtualTable:
    """Table that a ``Person`` watches: it lays out the cube and judges successes.

    It implements ``envs.operators.expert.Watched``, whose properties are used in the port's thread
    only; other threads call the methods.

    Args:
        so101: Arms and scene.
        rng: Random generator of the cube's places.
        workspace: Box in which the cube may be.
    """

    def __init__(
        self,
        so101: VirtualSO101,
        rng: np.random.Generator,
        workspace: Workspace | None = None,
    ) -> None:
        self._scene, self._call = so101.scene, so101.follower.port.call
        self._rng = rng
        self._laid = np.full(3, np.inf)
        self._coming = np.zeros(3)
        self.workspace = workspace or Workspace()
        self.task = TouchCube(self._scene, self.workspace)
        self.control_hz, self.step_size = LOOKS, FULL_SPEED / LOOKS
        self.gripper_step = _GRIPPER_STEP

    @property
    def tcp(self) -> FloatArray:
        """TCP of the follower once it has followed the leader, shape (3,) [m]."""
        return self._scene.tcp() + self._coming

    @property
    def gripper_opening(self) -> float:
        """Angle of the gripper's joint [rad]."""
        return self._scene.gripper_opening()

    @property
    def cube_aside(self) -> bool:
        """Whether the cube has been moved from its place."""
        cube = self._call(lambda: self._scene.cube_position(0))
        return bool(np.linalg.norm(cube - self._laid) > _ASIDE)

    def follower_tcp(self) -> FloatArray:
        """Return the TCP of the follower, shape (3,) [m]."""
        return self._call(self._scene.tcp)

    def succeeded(self) -> bool:
        """Return whether the gripper touches the cube."""
        return self._call(self.task.succeeded)

    def lay_out(self) -> None:
        """Put the cube at one of its two places, at rest."""

        def lay() -> FloatArray:
            for _ in range(_DRAWS):
                self.task.lay_out(self._rng)
                self._scene.still_cube(0)
                self._scene.refresh()
                if self._scene.distance_to_cube(0) > _FREE:
                    break
            return self._scene.cube_position(0)

        self._laid = self._call(lay)

    def act(self, person: Person, coming: FloatArray) -> FloatArray | None:
        """Let a person look, and return their action, as ``Person.act`` does.

        Args:
            person: Person who was reset to watch this table.
            coming: Motion by which the follower will still follow the leader, shape (3,) [m].
        """

        def act() -> FloatArray | None:
            self._coming = coming
            return person.act()

        return self._call(act)
