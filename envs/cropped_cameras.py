"""Cameras that show a region of interest of other cameras' frames."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from envs.frames import FrameShape, check_frames
from envs.interfaces import Cameras
from envs.views import CameraView

Frames = dict[str, NDArray[np.uint8]]


class CroppedCameras:
    """Cropped and resized frames of other cameras; implements ``envs.interfaces.Cameras``.

    Rendered and physical cameras are wrapped alike, so that a policy sees the same region of both.

    Args:
        cameras: Cameras with raw frames.
        views: View of each camera: the observed region of its frames.

    Raises:
        ValueError: If the views are not those of the cameras.
    """

    def __init__(self, cameras: Cameras, views: Mapping[str, CameraView]) -> None:
        raw_shapes = {name: view.raw_shape for name, view in views.items()}
        if dict(cameras.shapes) != raw_shapes:
            raise ValueError(
                f"the cameras deliver {dict(cameras.shapes)}, but the views expect {raw_shapes}: "
                "give each camera its view, with the camera's resolution"
            )
        self._cameras = cameras
        self._views = dict(views)

    @property
    def shapes(self) -> Mapping[str, FrameShape]:
        """Shape of each camera's observed frames."""
        return {name: view.shape for name, view in self._views.items()}

    @property
    def views(self) -> Mapping[str, CameraView]:
        """View of each camera: the observed region of its raw frames."""
        return dict(self._views)

    def raw(self) -> Frames:
        """Read a raw frame of every camera, before cropping.

        Raises:
            CameraError: If a frame is missing, misshapen or black.
        """
        frames = self._cameras.read()
        check_frames(frames, self._cameras.shapes)
        return frames

    def read(self) -> Frames:
        """Read a frame of every camera, cropped and resized.

        Raises:
            CameraError: If a raw frame is missing, misshapen or black.
        """
        return {name: self._views[name].apply(frame) for name, frame in self.raw().items()}

    def close(self) -> None:
        """Release the cameras."""
        self._cameras.close()
