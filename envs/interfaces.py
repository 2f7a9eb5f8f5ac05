"""What ``SO101Env`` asks of an arm, of cameras and of a task, in simulation and on hardware."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.frames import FrameShape

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ArmState:
    """One reading of the arm.

    Attributes:
        positions: Joint angles, shape (6,) [rad].
        velocities: Joint velocities, shape (6,) [rad/s].
        currents: Motor currents, shape (6,) [A].
    """

    positions: FloatArray
    velocities: FloatArray
    currents: FloatArray


class HardwareError(RuntimeError):
    """An arm or a camera cannot be used now; a person at it can mend that, the message says how."""


class Arm(Protocol):
    """Six joints that follow position targets."""

    def reset(self, joint_positions: FloatArray) -> None:
        """Bring the arm to rest at joint angles, shape (6,) [rad]."""
        ...

    def command(self, joint_targets: FloatArray) -> None:
        """Move toward joint angles, shape (6,) [rad], for one control period, and return then."""
        ...

    def handover(self) -> None:
        """Learn that someone else gives the commands from now on."""
        ...

    def read(self) -> ArmState:
        """Return the arm's present state."""
        ...

    def close(self) -> None:
        """Release what the arm holds."""
        ...


class Cameras(Protocol):
    """A fixed set of cameras with RGB frames."""

    @property
    def shapes(self) -> Mapping[str, FrameShape]:
        """Shape of each camera's frames, by the name that becomes a key of the observation."""
        ...

    def read(self) -> dict[str, NDArray[np.uint8]]:
        """Return the newest frame of every camera, each a new array of the camera's shape."""
        ...

    def close(self) -> None:
        """Release the cameras."""
        ...


class Task(Protocol):
    """What is to be done: where an episode starts, what the policy may know, when it is done."""

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Lay out the scene and return the arm's start, joint angles of shape (6,) [rad]."""
        ...

    def object_bounds(self) -> tuple[FloatArray, FloatArray] | None:
        """Return the lowest and the highest values of ``objects``, None where nobody knows them."""
        ...

    def objects(self) -> FloatArray:
        """Return the privileged state of the scene, a vector."""
        ...

    def succeeded(self) -> bool | None:
        """Return whether the task is done now, None where only someone who looks can tell."""
        ...

    def start_name(self) -> str:
        """Name the variant of the present episode's start, "" where there is only one."""
        ...

    def progress(self) -> float:
        """Return how far the task has come, from 0 to 1 (done)."""
        ...
