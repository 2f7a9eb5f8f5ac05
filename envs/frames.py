"""Checks of camera frames, simulated or not, before they are observed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

FrameShape = tuple[int, int, int]
"""Height, width and the three colours of a frame [pixels]."""


class CameraError(RuntimeError):
    """A camera delivers no usable frame; the message names it and says what to check."""


def check_frames(frames: Mapping[str, NDArray[Any]], shapes: Mapping[str, FrameShape]) -> None:
    """Refuse frames that are missing, misshapen or black.

    A dead or covered camera delivers zeros, which a policy would accept as an image. One pixel that
    is not zero is enough, so that the check costs nothing with a sound frame.

    Args:
        frames: One frame per camera.
        shapes: Expected shape of each camera's frames.

    Raises:
        CameraError: If a camera has no frame, or its frame is not uint8, has another shape than
            expected, or is zero everywhere.
    """
    for camera, shape in shapes.items():
        if camera not in frames:
            raise CameraError(
                f"camera {camera!r} delivered no frame, expected one of shape {shape} at every "
                "step: check its cable and its index"
            )
        frame = np.asarray(frames[camera])
        if frame.dtype != np.uint8 or frame.shape != shape:
            raise CameraError(
                f"camera {camera!r} delivered {frame.dtype} frames of shape {frame.shape}, "
                f"expected uint8 of shape {shape}: check that its index is this camera's and that "
                "it can do the resolution it is set to"
            )
        if not frame.any():
            raise CameraError(
                f"camera {camera!r} delivered a black frame (every pixel is 0), expected an image: "
                "take off its lens cap, check its cable and its index; if it stays black, the "
                "camera is dead"
            )
