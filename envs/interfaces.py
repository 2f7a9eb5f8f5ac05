"""Interfaces of the arm, cameras and task of ``SO101Env``, in simulation and on hardware."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.frames import FrameShape

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ArmState:
    """State of the arm.

    Attributes:
        positions: Joint angles, shape (6,) [rad].
        velocities: Joint velocities, shape (6,) [rad/s].
        currents: Motor currents, shape (6,) [A].
    """

    positions: FloatArray
    velocities: FloatArray
    currents: FloatArray


class HardwareError(RuntimeError):
    """An arm or a camera cannot be used now; the message says how a person at it can fix that."""


class Arm(Protocol):
    """Six joints that follow position targets."""

    def reset(self, joint_positions: FloatArray) -> None:
        """Bring the arm to rest at joint angles, shape (6,) [rad]."""
        ...

    def command(self, joint_targets: FloatArray) -> None:
        """Move toward joint angles, shape (6,) [rad], for one control period."""
        ...

    def handover(self) -> None:
        """Prepare for commands from another source, after a takeover or its end."""
        ...

    def read(self) -> ArmState:
        """Return the current state of the arm."""
        ...

    def close(self) -> None:
        """Release the arm's resources."""
        ...


class Cameras(Protocol):
    """Fixed set of cameras with RGB frames."""

    @property
    def shapes(self) -> Mapping[str, FrameShape]:
        """Shape of each camera's frames, by the name that becomes a key of the observation."""
        ...

    def read(self) -> dict[str, NDArray[np.uint8]]:
        """Return the newest frame of every camera, each a new array in the camera's shape."""
        ...

    def close(self) -> None:
        """Release the cameras."""
        ...


class Task(Protocol):
    """Task: start of an episode, privileged state, success and progress."""

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Lay out the scene and return the arm's start, joint angles of shape (6,) [rad]."""
        ...

    def object_bounds(self) -> tuple[FloatArray, FloatArray] | None:
        """Return the lowest and the highest values of ``objects``, None if they are unknown."""
        ...

    def objects(self) -> FloatArray:
        """Return the privileged state of the scene, a vector."""
        ...

    def succeeded(self) -> bool | None:
        """Return whether the task is done now, None if only a person or a classifier can tell."""
        ...

    def start_name(self) -> str:
        """Return the name of the start's variant, "" if there is only one."""
        ...

    def progress(self) -> float:
        """Return the progress of the task, from 0 to 1 (done)."""
        ...
