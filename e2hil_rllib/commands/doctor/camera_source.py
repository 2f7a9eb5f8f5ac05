"""A camera as it is described on the command line: its source, and settings where they matter."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

import yaml

from e2hil_rllib.errors import UserError
from envs.hardware.cameras.camera_settings import CameraSettings

_SETTING = re.compile(r",(?=[a-z_]+=)")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class CameraSourceError(UserError):
    """A camera is described wrongly; the message says how."""


@dataclass(frozen=True)
class CameraSource:
    """One camera to examine.

    Attributes:
        settings: what it is set to.
        given: names of the settings that were asked for; the others are defaults.
    """

    settings: CameraSettings
    given: Collection[str]

    @classmethod
    def parse(cls, text: str) -> CameraSource:
        """Reads `SOURCE[,SETTING=VALUE...]`, such as `0,resolution=1280x720,fps=15`.

        The settings are those of a camera in a settings file.

        Raises:
            CameraSourceError: a setting is unknown, or its value out of its range.
        """
        source, *settings = _SETTING.split(text)
        given: dict[str, Any] = {"source": int(source) if source.isdecimal() else source}
        try:
            for setting in settings:
                name, _, value = setting.partition("=")
                given[name] = yaml.safe_load(value)
                if size := re.fullmatch(r"(\d+)x(\d+)", value):
                    given[name] = [int(side) for side in size.groups()]
            return cls(CameraSettings.from_options("SOURCE", given), tuple(given))
        except (TypeError, ValueError, yaml.YAMLError) as error:
            what = str(error).removeprefix("cameras.SOURCE").lstrip(". ")
            raise CameraSourceError(f"--camera {text}: {what}") from error

    @property
    def name(self) -> str:
        """A short name: the index, or what the path ends with."""
        source = str(self.settings.source)
        if "://" in source:
            parts = urlsplit(source)
            return PurePath(parts.path).stem or parts.netloc
        return PurePath(source).name

    @property
    def may_stand_still(self) -> bool:
        """Whether frames that are exactly alike are no sign of a fault.

        They are in a file and in a stream of this machine, such as the virtual arm's, whose scene
        is rendered; the noise of a sensor never repeats.
        """
        settings = self.settings
        local = not settings.is_device and urlsplit(str(settings.source)).hostname in _LOOPBACK
        return settings.may_repeat or settings.is_file or local
