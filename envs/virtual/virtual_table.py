"""The table before a virtual arm, as somebody sees it who knows the task Touch Cube."""

import numpy as np
from numpy.typing import NDArray

from envs.operators.person import Person
from envs.tasks.touch_cube import TouchCube
from envs.virtual.virtual_so101 import VirtualSO101
from envs.workspace import Workspace

FloatArray = NDArray[np.float64]

LOOKS = 10.0
"""How often a person looks and decides [Hz]."""
FULL_SPEED = 0.2
"""Of a hand that leads [m/s]."""

_ASIDE = 0.02  # a cube this far from where it was laid has been pushed [m]
_FREE = 0.05  # the jaws have to be this far from where a cube is laid [m]
_DRAWS = 20
_GRIPPER_STEP = 0.1  # [rad]; nothing is grasped here


class VirtualTable:
    """Lays the cube out, judges, and lets a ``Person`` look; it is what they watch.

    It implements ``envs.operators.expert.Watched``, whose properties are asked for in the port's
    thread only; everybody else calls the methods.

    Args:
        so101: The arms and the scene.
        rng: Of the cube's places.
        workspace: Where the cube may be.
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
        """Where the follower's TCP will be once it has come after the leader, shape (3,) [m]."""
        return self._scene.tcp() + self._coming

    @property
    def gripper_opening(self) -> float:
        """The angle of the gripper's joint [rad]."""
        return self._scene.gripper_opening()

    @property
    def cube_aside(self) -> bool:
        """Whether the cube is no longer where it was laid."""
        cube = self._call(lambda: self._scene.cube_position(0))
        return bool(np.linalg.norm(cube - self._laid) > _ASIDE)

    def follower_tcp(self) -> FloatArray:
        """Return where the follower's TCP is, shape (3,) [m]."""
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
        """Let a person look, and return what they do, as ``Person.act``.

        Args:
            person: Who has been reset to watch this table.
            coming: How far the follower will still come after the leader, shape (3,) [m].
        """

        def act() -> FloatArray | None:
            self._coming = coming
            return person.act()

        return self._call(act)
