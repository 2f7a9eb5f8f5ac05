"""Forward and inverse kinematics of the SO101, on the model of the simulation."""

from pathlib import Path

import mink
import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

JOINTS = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
)
"""Joint names in the order of every joint vector of this package."""

MODEL_PATH = Path(__file__).parent / "sim" / "so101.xml"
"""MJCF description of the arm."""

HOME = np.array([0.0, -0.6, 0.8, 1.1, 0.0, 0.9])
"""Joint angles before an episode, shape (6,) [rad]: jaws open, 5 cm above the table."""

_PAN_AXIS_X = 0.0388353  # [m]
_TOLERANCE = 5e-5  # [m]
_MAX_ITERATIONS = 15
_MAX_STEP = 0.6  # [rad] in one iteration
_RESTING_STEP = 0.03  # [rad]: the next step would be its square
# Five joints cannot reach six coordinates: looking down is a soft goal (one radian of tilt costs as
# much as 1 cm), and the last iterations, without it, reach the position exactly. Turning the jaws
# costs more: where the arm folds up, the wrist would turn half round to gain millimetres.
_TILT_COST = 0.01  # [m/rad]
_TURN_COST = 0.05  # [m/rad]
_SOLVER = "daqp"


class Kinematics:
    """Kinematics between joint angles and the tool centre point (TCP).

    The TCP is between the jaws. The inverse prefers a gripper that looks straight down with its
    jaws opening along the world's x axis, and leaves the tilt free where the wrist cannot do that
    (above z = 0.085 m, and beyond x = 0.325 m). In one corner of the default workspace the arm
    cannot fold up far enough (x < 0.152 m, |y| < 0.05 m, z > 0.065 m): its error there is up to
    18 mm.
    """

    def __init__(self) -> None:
        model = mujoco.MjModel.from_xml_path(str(MODEL_PATH))
        self._configuration = mink.Configuration(model)
        tilt_and_turn, turn = [_TILT_COST, _TILT_COST, _TURN_COST], [0.0, 0.0, _TURN_COST]
        self._posed = mink.FrameTask("tcp", "site", 1.0, tilt_and_turn, lm_damping=0.01)
        self._placed = mink.FrameTask("tcp", "site", 1.0, turn, lm_damping=0.01)
        self._lower, self._upper = model.jnt_range.T.copy()
        self._limits = [mink.ConfigurationLimit(model)]

    @property
    def joint_limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest joint angles, each of shape (6,) [rad]."""
        return self._lower.copy(), self._upper.copy()

    def forward(self, joint_positions: ArrayLike) -> NDArray[np.float64]:
        """Return the TCP in the world, shape (3,) [m], for joint angles of shape (6,) [rad].

        Raises:
            ValueError: If the joint angles are not six finite numbers.
        """
        self._configuration.update(_finite_vector(joint_positions, len(JOINTS), "joint_positions"))
        return self._tcp()

    def inverse(self, tcp: ArrayLike, gripper: float = 0.0) -> NDArray[np.float64]:
        """Return the joint angles that bring the TCP to a point, a function of the point alone.

        Args:
            tcp: Wanted TCP in the world, shape (3,) [m].
            gripper: Angle of the gripper's joint in the result [rad].

        Returns:
            Joint angles within their limits, shape (6,) [rad]. Within reach the TCP is at most
            0.1 mm off; out of reach it is as near as the search came.

        Raises:
            ValueError: If an argument has the wrong shape or is not finite.
        """
        wanted = _finite_vector(tcp, 3, "tcp")
        start = HOME.copy()
        # The wrist rolls with the pan, so that the jaws keep their direction in the world.
        start[0] = start[4] = -np.arctan2(wanted[1], wanted[0] - _PAN_AXIS_X)
        start = np.clip(start, self._lower, self._upper)
        self._configuration.update(start)
        # The gripper's frame coincides with the world's when it looks straight down.
        target = mink.SE3.from_translation(wanted)
        self._posed.set_target(target)
        self._placed.set_target(target)
        self._iterate(self._posed, wanted)
        self._iterate(self._placed, wanted)
        solution = np.clip(self._configuration.q, self._lower, self._upper)
        solution[-1] = gripper
        return solution

    def _iterate(self, task: mink.FrameTask, wanted: NDArray[np.float64]) -> None:
        """Take Gauss-Newton steps until the joints rest, or the position-only task is met."""
        for _ in range(_MAX_ITERATIONS):
            if task is self._placed and np.linalg.norm(self._tcp() - wanted) < _TOLERANCE:
                return
            velocity = mink.solve_ik(
                self._configuration, [task], 1.0, _SOLVER, damping=1e-9, limits=self._limits
            )
            largest = np.abs(velocity).max()
            self._configuration.integrate_inplace(velocity, min(1.0, _MAX_STEP / largest))
            if largest < _RESTING_STEP:
                return

    def _tcp(self) -> NDArray[np.float64]:
        return np.array(self._configuration.data.site("tcp").xpos)


def _finite_vector(values: ArrayLike, length: int, name: str) -> NDArray[np.float64]:
    vector = np.array(values, dtype=np.float64)
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise ValueError(f"{name} must be {length} finite numbers, got {values!r}")
    return vector
