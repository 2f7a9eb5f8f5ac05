"""Views: the observed region of a camera's frame, and its size."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from envs.frames import FrameShape
from envs.options import integer, mapping, refuse_unknown

FRAME_SIZE = 128
"""Default width and height of a frame [pixels]."""

Size = tuple[int, int]
"""Width and height [pixels]."""

Frame = NDArray[np.uint8]

_SMALLEST, _LARGEST = 16, 1024  # [pixels]
_LARGEST_RAW = 4096  # [pixels]: largest frames of cameras


@dataclass(frozen=True)
class Region:
    """Rectangle of a frame [pixels]; (left, top) is its first pixel.

    Attributes:
        left: Number of the frame's columns left of it.
        top: Number of the frame's rows above it.
        width: Number of its columns.
        height: Number of its rows.
    """

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class CameraView:
    """View of a camera: from its raw frame to the observed one.

    Attributes:
        resolution: Width and height of the raw frame [pixels].
        crop: Observed region of the raw frame.
        size: Width and height of the observed frame [pixels].
    """

    resolution: Size
    crop: Region
    size: Size

    @classmethod
    def from_options(cls, camera: str, options: Any) -> "CameraView":
        """Build a view from the options of one camera.

        Args:
            camera: Name of the camera, for errors.
            options: Mapping of any of ``resolution`` ([width, height] of the raw frame, default
                128x128), ``crop`` (``{left, top, width, height}`` in pixels of the raw frame,
                default all of it) and ``size`` ([width, height] of the observed frame, or one
                number for both, default 128); None for the defaults.

        Raises:
            TypeError: If an option is unknown, missing in ``crop``, or no mapping.
            ValueError: If a size is out of its range, or the crop out of the frame.
        """
        where = f"cameras.{camera}"
        given = mapping(where, {} if options is None else options)
        refuse_unknown(given, {field.name for field in fields(cls)}, where)
        resolution = _size(f"{where}.resolution", given.get("resolution"), _LARGEST_RAW)
        crop = _region(f"{where}.crop", given.get("crop"), resolution)
        return cls(resolution, crop, _size(f"{where}.size", given.get("size"), _LARGEST))

    @property
    def raw_shape(self) -> FrameShape:
        """Shape of the raw frame."""
        return (self.resolution[1], self.resolution[0], 3)

    @property
    def shape(self) -> FrameShape:
        """Shape of the observed frame."""
        return (self.size[1], self.size[0], 3)

    def apply(self, frame: Frame) -> Frame:
        """Crop a raw frame and resize it.

        A crop that already has the size is not resampled. Pixels outside of the crop have no
        influence.

        Args:
            frame: Raw frame, uint8 RGB of shape ``raw_shape``.

        Returns:
            The observed frame, uint8 RGB of shape ``shape``; ``frame`` itself if nothing changes.
        """
        crop = self.crop
        if crop == Region(0, 0, *self.resolution) and self.size == self.resolution:
            return frame
        part = frame[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        if self.size == (crop.width, crop.height):
            return part.copy()
        # Pillow widens the filter when it shrinks, so that small things do not flicker.
        image = Image.fromarray(np.ascontiguousarray(part))
        return np.array(image.resize(self.size, Image.Resampling.BILINEAR))


def camera_views(options: Any) -> dict[str, CameraView]:
    """Return the views of an environment's ``cameras`` option.

    Args:
        options: List of camera names, or mapping of camera names to options of
            ``CameraView.from_options``.

    Raises:
        TypeError: If the option of a view is unknown.
        ValueError: If the option is neither, names a camera twice, or the value of an option is not
            valid.
    """
    if isinstance(options, Mapping):
        return {name: CameraView.from_options(name, of_one) for name, of_one in options.items()}
    is_list = isinstance(options, (list, tuple)) and all(isinstance(name, str) for name in options)
    if not is_list or len(set(options)) != len(options):
        raise ValueError(
            "cameras must be a list of different names, or a mapping of names to their options, "
            f"got {options!r}"
        )
    return {name: CameraView.from_options(name, None) for name in options}


def _size(name: str, value: Any, largest: int) -> Size:
    if value is None:
        return FRAME_SIZE, FRAME_SIZE
    sides = value if isinstance(value, (list, tuple)) else [value, value]
    if len(sides) != 2:
        raise ValueError(f"{name} must be [width, height] or one number for both, got {value!r}")
    width, height = (integer(name, side, _SMALLEST, largest) for side in sides)
    return width, height


def _region(name: str, value: Any, resolution: Size) -> Region:
    if value is None:
        return Region(0, 0, *resolution)
    given = mapping(name, value)
    names = [field.name for field in fields(Region)]
    refuse_unknown(given, names, name)
    missing = [key for key in names if key not in given]
    if missing:
        raise TypeError(f"{name} lacks {missing}: give all of {names}, in pixels of the raw frame")
    region = Region(
        integer(f"{name}.left", given["left"], 0, resolution[0] - _SMALLEST),
        integer(f"{name}.top", given["top"], 0, resolution[1] - _SMALLEST),
        integer(f"{name}.width", given["width"], _SMALLEST, resolution[0]),
        integer(f"{name}.height", given["height"], _SMALLEST, resolution[1]),
    )
    right, bottom = region.left + region.width, region.top + region.height
    if right > resolution[0] or bottom > resolution[1]:
        raise ValueError(
            f"{name} ends at column {right}, row {bottom}, expected it within the raw frame of "
            f"{resolution[0]}x{resolution[1]} pixels: make it smaller, or set the camera's "
            "resolution"
        )
    return region
