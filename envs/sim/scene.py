"""Simulated scene: model of the arm, cubes on the table, and queries about them."""

import math
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.kinematics import MODEL_PATH
from envs.sim.randomization import Randomization, Randomizer
from envs.workspace import Workspace

CUBE_HALF = 0.0125
"""Half the edge of a cube without randomisation [m]; see ``Scene.cube_half``."""

_CUBE_MASS = 0.015  # [kg]
_CUBE_COLOURS = ((0.85, 0.15, 0.12, 1.0), (0.12, 0.35, 0.85, 1.0))
_RIM_HALF_WIDTH = 0.01  # [m]
_RIM_HALF_HEIGHT = 0.05  # [m]
_MAX_TIMESTEP = 0.005  # [s]
_UNSTABLE = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
)
_JAWS = ("fixed_jaw", "moving_jaw")
_PRESS_FORCE = 0.5  # [N] per jaw in a grasp
_OPPOSED = -0.3  # largest dot product of the two jaws' pushing directions in a grasp


@dataclass(frozen=True)
class CubeMotion:
    """Speeds of a cube: linear [m/s] and angular [rad/s]."""

    linear: float
    angular: float


class Scene:
    """Scene of the arm and some cubes on a table, with its physics.

    An invisible rim, which only the cubes touch, keeps their centres within the workspace: a cube
    that was pushed out of reach could never be brought back.

    Args:
        num_cubes: Number of cubes on the table.
        control_period: Time that one call of ``advance`` simulates [s].
        workspace: Box in which the cubes stay.
        marker: Whether a disc on the table shows a target.
        randomization: Strengths by which the world varies from start to start; None for none.
    """

    def __init__(
        self,
        num_cubes: int,
        control_period: float,
        workspace: Workspace,
        marker: bool = False,
        randomization: Randomization | None = None,
    ) -> None:
        self.substeps = math.ceil(control_period / _MAX_TIMESTEP - 1e-9)
        spec = mujoco.MjSpec.from_file(str(MODEL_PATH))
        spec.option.timestep = control_period / self.substeps
        _add_rim(spec, workspace)
        for index in range(num_cubes):
            _add_cube(spec, index)
        if marker:
            _add_marker(spec)
        if randomization is not None and randomization.colours > 0:
            _add_wall(spec)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self._tcp = self.model.site("tcp").id
        self._gripper = self.model.body("gripper").id
        self._cubes = [self.model.body(f"cube_{index}").id for index in range(num_cubes)]
        self._cube_joints = [self.model.joint(f"cube_{index}") for index in range(num_cubes)]
        self._cube_geoms = [self.model.geom(f"cube_{index}").id for index in range(num_cubes)]
        self._jaw_of_geom = {
            geom: jaw
            for geom in range(self.model.ngeom)
            for jaw, prefix in enumerate(_JAWS)
            if self.model.geom(geom).name.startswith(prefix)
        }
        self._randomizer = Randomizer(self.model, randomization) if randomization else None
        self.reset()

    def begin(self, rng: np.random.Generator) -> None:
        """Reset the scene, and draw its randomisation."""
        if self._randomizer is not None:
            self._randomizer.draw(rng)
        self.reset()

    def reset(self) -> None:
        """Stop all motion; cubes return to the model's pose until ``place_cube`` moves them."""
        mujoco.mj_resetData(self.model, self.data)

    def refresh(self) -> None:
        """Update everything derived (contacts, poses) from the current positions."""
        mujoco.mj_forward(self.model, self.data)

    def place_cube(self, index: int, x: float, y: float, yaw: float) -> None:
        """Put a cube on the table at a centre (x, y) [m], turned by a yaw angle [rad]."""
        address = self._cube_joints[index].qposadr[0]
        self.data.qpos[address : address + 7] = (
            *(x, y, self.cube_half(index)),
            *(math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)),
        )

    def still_cube(self, index: int) -> None:
        """Stop a cube."""
        address = self._cube_joints[index].dofadr[0]
        self.data.qvel[address : address + 6] = 0.0

    def place_marker(self, x: float, y: float) -> None:
        """Move the disc that shows a target to (x, y) [m]."""
        self.data.mocap_pos[0, :2] = (x, y)

    def tcp(self) -> NDArray[np.float64]:
        """Return the tool centre point, shape (3,) [m]."""
        return self.data.site_xpos[self._tcp].copy()

    def gripper_opening(self) -> float:
        """Return the angle of the gripper's joint [rad]."""
        return float(self.data.qpos[5])

    def arm_speed(self) -> float:
        """Return the speed of the fastest joint [rad/s]."""
        return float(np.abs(self.data.qvel[:6]).max())

    def cube_half(self, index: int) -> float:
        """Return half the edge of a cube [m]."""
        return float(self.model.geom_size[self._cube_geoms[index], 0])

    def cube_position(self, index: int) -> NDArray[np.float64]:
        """Return the centre of a cube, shape (3,) [m]."""
        return self.data.xpos[self._cubes[index]].copy()

    def cube_rotation(self, index: int) -> NDArray[np.float64]:
        """Return the rotation matrix of a cube in the world, shape (3, 3)."""
        return self.data.xmat[self._cubes[index]].reshape(3, 3).copy()

    def cube_motion(self, index: int) -> CubeMotion:
        """Return the speeds of a cube."""
        address = self._cube_joints[index].dofadr[0]
        velocity = self.data.qvel[address : address + 6]
        return CubeMotion(float(np.linalg.norm(velocity[:3])), float(np.linalg.norm(velocity[3:])))

    def cube_between_jaws(self, index: int) -> NDArray[np.float64]:
        """Return a cube's centre relative to the TCP, in gripper coordinates, shape (3,) [m].

        x points along the opening of the jaws, away from the fixed one; z back into the gripper.
        """
        rotation = self.data.xmat[self._gripper].reshape(3, 3)
        return rotation.T @ (self.cube_position(index) - self.tcp())

    def distance_to_cube(self, index: int) -> float:
        """Return the distance of the TCP to a cube's surface [m], 0 inside the cube."""
        local = self.cube_rotation(index).T @ (self.tcp() - self.cube_position(index))
        outside = np.maximum(np.abs(local) - self.cube_half(index), 0.0)
        return float(np.linalg.norm(outside))

    def jaw_forces(self, index: int) -> dict[int, NDArray[np.float64]]:
        """Return the force of each jaw that touches a cube.

        Returns:
            For jaw 0 (fixed) and 1 (moving), where they touch: the sum of the normal forces on the
            cube, shape (3,) [N].
        """
        forces: dict[int, NDArray[np.float64]] = {}
        wrench = np.zeros(6)
        cube = self._cube_geoms[index]
        for number, (first, second) in enumerate(self.data.contact.geom):
            if cube not in (first, second):
                continue
            jaw = self._jaw_of_geom.get(int(second if first == cube else first))
            if jaw is None:
                continue
            mujoco.mj_contactForce(self.model, self.data, number, wrench)
            # The contact's x axis points from its first geom to its second.
            normal = self.data.contact.frame[number][:3] * (1.0 if second == cube else -1.0)
            forces[jaw] = forces.get(jaw, np.zeros(3)) + wrench[0] * normal
        return forces

    def touched(self, index: int) -> bool:
        """Return whether a jaw touches a cube."""
        return bool(self.jaw_forces(index))

    def grasped(self, index: int) -> bool:
        """Return whether both jaws press a cube with at least 0.5 N from opposite sides."""
        forces = self.jaw_forces(index)
        if len(forces) < 2:
            return False
        sizes = [float(np.linalg.norm(forces[jaw])) for jaw in (0, 1)]
        if min(sizes) < _PRESS_FORCE:
            return False
        return float(forces[0] @ forces[1]) / (sizes[0] * sizes[1]) <= _OPPOSED

    def advance(self, targets: NDArray[np.float64], goal: NDArray[np.float64]) -> None:
        """Simulate one control period while the servos' targets ramp from one pose to another.

        The ramp matters: a servo this stiff overshoots a sudden step of 5 degrees by a quarter.

        Args:
            targets: Joint targets at the beginning, shape (6,) [rad].
            goal: Joint targets at the end, shape (6,) [rad].

        Raises:
            RuntimeError: If the simulation became unstable; MuJoCo then restarts it silently.
        """
        for step in range(1, self.substeps + 1):
            self.data.ctrl[:] = targets + (goal - targets) * (step / self.substeps)
            mujoco.mj_step(self.model, self.data)
        for warning in _UNSTABLE:
            if self.data.warning[warning].number:
                raise RuntimeError(
                    f"the simulation became unstable ({warning.name}) at {self.data.time:.2f} s: "
                    "reset the environment; a smaller step_size makes motions gentler"
                )
        # Contacts and poses belong to the state before the last step until they are updated.
        self.refresh()


def _add_cube(spec: mujoco.MjSpec, index: int) -> None:
    name = f"cube_{index}"
    body = spec.worldbody.add_body(name=name, pos=[0.2, 0.06 * index, CUBE_HALF])
    body.add_freejoint(name=name)
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[CUBE_HALF] * 3,
        mass=_CUBE_MASS,
        rgba=_CUBE_COLOURS[index % len(_CUBE_COLOURS)],
        contype=1,
        conaffinity=7,
    )


def _add_rim(spec: mujoco.MjSpec, workspace: Workspace) -> None:
    centre = (workspace.low + workspace.high) / 2
    reach = (workspace.high - workspace.low) / 2 + CUBE_HALF + _RIM_HALF_WIDTH
    for axis in (0, 1):
        for side in (-1, 1):
            position = np.array([centre[0], centre[1], _RIM_HALF_HEIGHT])
            position[axis] += side * reach[axis]
            size = np.array([reach[0], reach[1], _RIM_HALF_HEIGHT])
            size[axis] = _RIM_HALF_WIDTH
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX,
                pos=position,
                size=size,
                rgba=[0.0, 0.0, 0.0, 0.0],
                contype=4,
                conaffinity=0,
            )


def _add_marker(spec: mujoco.MjSpec) -> None:
    body = spec.worldbody.add_body(name="marker", pos=[0.2, 0.0, 0.0005], mocap=True)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[0.025, 0.0005, 0],
        rgba=[0.1, 0.65, 0.2, 1.0],
        contype=0,
        conaffinity=0,
    )


def _add_wall(spec: mujoco.MjSpec) -> None:
    """Add a wall behind the view of the front camera, which otherwise ends at a black edge."""
    spec.worldbody.add_geom(
        name="wall",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=[-0.5, 0.0, 0.0],
        quat=[math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0],
        size=[2.0, 2.0, 0.1],
        rgba=[0.5, 0.5, 0.5, 1.0],
        contype=0,
        conaffinity=0,
    )
