"""Spaces of a physical SO101, derived from its options alone, without an arm."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.frames import FrameShape
from envs.hardware.cameras.camera_settings import camera_options
from envs.so101 import SO101Env
from envs.tasks.real_table import RealTable
from envs.workspace import Workspace


def physical_spaces(
    options: Mapping[str, Any],
) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
    """Return the observation and action space of ``envs.hardware.robot.make_physical``.

    Nothing is opened, so that a learner's machine can tell what its robot will send. Ports and
    calibrations are not looked at.

    Args:
        options: Keyword arguments of ``make_physical``.

    Raises:
        ValueError: If the cameras, the workspace or the rate are not valid.
    """
    _, views = camera_options(options.get("cameras"))
    box = options.get("workspace")
    env = SO101Env(
        _Absent({}),
        _Absent({name: view.shape for name, view in views.items()}) if views else None,
        RealTable(),
        workspace=Workspace() if box is None else Workspace.from_options(box),
        control_hz=options.get("control_hz", 10.0),
        step_size=options.get("step_size", 0.02),
        reward="external",
    )
    return env.observation_space, env.action_space


class _Absent:
    """Placeholder for an arm, or for cameras of given shapes, where there are none."""

    def __init__(self, shapes: Mapping[str, FrameShape]) -> None:
        self.shapes = shapes

    def reset(self, joint_positions: NDArray[np.float64]) -> None:
        """Raise, since there is no arm."""
        raise NotImplementedError("there is no arm")

    def command(self, joint_targets: NDArray[np.float64]) -> None:
        """Raise, since there is no arm."""
        raise NotImplementedError("there is no arm")

    def handover(self) -> None:
        """Do nothing, since there is no arm."""

    def read(self) -> Any:
        """Raise, since there is nothing to read."""
        raise NotImplementedError("there is neither an arm nor a camera")

    def close(self) -> None:
        """Do nothing, since nothing is open."""
