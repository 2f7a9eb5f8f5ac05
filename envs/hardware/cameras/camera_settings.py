"""Settings of a physical camera, and the options that they are read from."""

from dataclasses import dataclass, fields
from typing import Any

from envs.frames import FrameShape
from envs.options import integer, mapping, number, refuse_unknown
from envs.views import CameraView

Size = tuple[int, int]
"""Width and height [pixels]."""

_LARGEST = 4096  # [pixels]
_HIGHEST_INDEX = 63


@dataclass(frozen=True)
class CameraSettings:
    """Settings of one camera.

    Attributes:
        source: Index (0 is /dev/video0), path under /dev (those under /dev/v4l/by-id and
            /dev/v4l/by-path stay the same when cameras are plugged in again), video file, which
            is played in real time in a loop, or URL of a stream.
        resolution: Width and height of the frames [pixels].
        fps: Frame rate; a file is played at this rate [Hz].
        exposure: Exposure in the driver's unit (0.1 ms on most Linux drivers); None leaves it to
            the camera. Only for devices.
        pixel_format: Four letters, such as "MJPG", which lets two cameras share one USB hub; None
            leaves it to the driver. Only for devices.
        stale_after: Time without a new frame after which the camera counts as dead [s].
        may_repeat: Whether two frames may be identical, as those of a still rendered scene
            are. The noise of a sensor never repeats: identical frames mean a frozen picture.

    Raises:
        ValueError: If a value is out of its range.
    """

    source: int | str
    resolution: Size = (640, 480)
    fps: float = 30.0
    exposure: float | None = None
    pixel_format: str | None = None
    stale_after: float = 0.5
    may_repeat: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.source, str):
            if not self.source:
                raise ValueError("source must be an index, a path or a URL, got an empty string")
        else:
            integer("source", self.source, 0, _HIGHEST_INDEX)
        sides = self.resolution
        if not isinstance(sides, (list, tuple)) or len(sides) != 2:
            raise ValueError(f"resolution must be [width, height], got {sides!r}")
        width, height = (integer("resolution", side, 16, _LARGEST) for side in sides)
        object.__setattr__(self, "resolution", (width, height))
        number("fps", self.fps, 1.0, 240.0)
        number("stale_after", self.stale_after, 0.1, 1.0)
        if self.stale_after < 2.0 / self.fps:
            raise ValueError(
                f"stale_after must be at least two frames, {2.0 / self.fps:.2f} s at {self.fps:g} "
                f"fps, got {self.stale_after:g}"
            )
        if self.exposure is not None:
            number("exposure", self.exposure, -20.0, 1e6)
        letters = self.pixel_format
        if letters is not None and (not isinstance(letters, str) or len(letters) != 4):
            raise ValueError(f"pixel_format must be four letters, as MJPG, got {letters!r}")
        if not isinstance(self.may_repeat, bool):
            raise ValueError(f"may_repeat must be true or false, got {self.may_repeat!r}")
        if not self.is_device and (self.exposure is not None or letters is not None):
            raise ValueError(
                f"exposure and pixel_format are set on devices, but {self.source!r} is none: leave "
                "them out"
            )

    @classmethod
    def from_options(cls, camera: str, options: Any) -> "CameraSettings":
        """Build settings from a mapping of field names to values; ``source`` is required.

        Args:
            camera: Name of the camera, for errors.
            options: Mapping of field names to values.

        Raises:
            TypeError: If an option is unknown, ``source`` is missing, or the options no mapping.
            ValueError: If a value is out of its range.
        """
        where = f"cameras.{camera}"
        given = mapping(where, options)
        refuse_unknown(given, {field.name for field in fields(cls)}, where)
        if "source" not in given:
            raise TypeError(f"{where} lacks 'source': give an index, a path under /dev, or a URL")
        try:
            return cls(**given)
        except ValueError as error:
            raise ValueError(f"{where}.{error}") from error

    @property
    def is_device(self) -> bool:
        """Whether the source is a camera of this machine, which has settings."""
        return isinstance(self.source, int) or self.source.startswith("/dev/")

    @property
    def is_file(self) -> bool:
        """Whether the source is a file."""
        return not self.is_device and "://" not in str(self.source)

    @property
    def shape(self) -> FrameShape:
        """Shape of the frames."""
        return (self.resolution[1], self.resolution[0], 3)


def camera_options(options: Any) -> tuple[dict[str, CameraSettings], dict[str, CameraView]]:
    """Read the options of physical cameras: the settings and the view of each.

    Args:
        options: Mapping by camera of the fields of ``CameraSettings`` and ``CameraView``, which
            share ``resolution``; without ``crop``, the largest square in the middle is observed.
            None for no cameras.

    Raises:
        TypeError: If an option is unknown, ``source`` is missing, or the options no mapping.
        ValueError: If a value is out of its range.
    """
    of_settings = {field.name for field in fields(CameraSettings)}
    of_view = {field.name for field in fields(CameraView)}
    settings, views = {}, {}
    for name, given in mapping("cameras", {} if options is None else options).items():
        chosen = mapping(f"cameras.{name}", given)
        refuse_unknown(chosen, of_settings | of_view, f"cameras.{name}")
        camera = CameraSettings.from_options(
            name, {key: value for key, value in chosen.items() if key in of_settings}
        )
        view = {key: value for key, value in chosen.items() if key in of_view}
        view |= {"resolution": list(camera.resolution)}
        settings[name] = camera
        views[name] = CameraView.from_options(name, {"crop": _middle(camera.resolution)} | view)
    return settings, views


def _middle(resolution: Size) -> dict[str, int]:
    """Return the largest square in the middle of a frame, as the simulated cameras show it."""
    width, height = resolution
    side = min(width, height)
    return {
        "left": (width - side) // 2,
        "top": (height - side) // 2,
        "width": side,
        "height": side,
    }
