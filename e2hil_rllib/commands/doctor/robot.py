"""The arms and cameras that a settings file of a physical robot names."""

from __future__ import annotations

from pathlib import Path

from e2hil_rllib.commands.doctor.camera_source import CameraSource
from e2hil_rllib.errors import UserError
from e2hil_rllib.settings.run_settings import Settings
from envs.hardware.cameras.camera_settings import camera_options
from envs.hardware.robot_options import calibration_file
from envs.options import mapping


class RobotSettingsError(UserError):
    """A settings file describes no physical robot; the message says what is missing."""


def described_robot(
    settings: Settings,
) -> tuple[list[tuple[str, str, Path]], list[CameraSource]]:
    """Reads what a settings file says of a robot, without opening anything.

    Returns:
        Of each arm its name, port and calibration file; and the cameras.

    Raises:
        RobotSettingsError: it names no arm, or describes one or a camera wrongly.
    """
    options = settings.env
    if "follower" not in options:
        raise RobotSettingsError(
            f"The settings are those of {settings.task}, which has no physical arm: expected "
            "env.follower with its port and calibration, as in configs/so101_real.yaml"
        )
    try:
        arms = []
        for name in ("follower", "leader"):
            given = options.get(name)
            if given is not None:
                port = mapping(f"env.{name}", given).get("port")
                if not isinstance(port, str):
                    raise TypeError(f"env.{name} lacks 'port': its serial port")
                arms.append((name, port, calibration_file(name, given)))
        cameras = options.get("cameras") or {}
        described, _ = camera_options(cameras)
        sources = [CameraSource(described[name], tuple(cameras[name])) for name in described]
    except (TypeError, ValueError) as error:
        raise RobotSettingsError(f"The robot cannot be examined: {error}.") from error
    return arms, sources
