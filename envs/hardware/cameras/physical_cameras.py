"""Physical cameras: any number of them, each read by a thread of its own."""

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from envs.closing import Closing
from envs.frames import FrameShape
from envs.hardware.cameras.camera_capture import OpenCVCapture, import_opencv
from envs.hardware.cameras.camera_reader import CameraReader, CameraStatus, OpenCapture
from envs.hardware.cameras.camera_settings import CameraSettings

__all__ = ["CameraSettings", "CameraStatus", "OpenCVCameras"]


class OpenCVCameras(Closing):
    """Cameras, video files and streams of OpenCV; implements ``envs.interfaces.Cameras``.

    A thread per camera keeps its newest frame, so that ``read`` never waits for one.

    Args:
        settings: Settings of each camera, by its name.
        start_timeout: Longest time until the first frames [s].
        open_capture: Function that opens a camera; None for OpenCV.

    Raises:
        CameraError: If OpenCV cannot be imported, or a camera cannot be opened, does not take its
            resolution, or delivers no frame in time.
    """

    def __init__(
        self,
        settings: Mapping[str, CameraSettings],
        *,
        start_timeout: float = 10.0,
        open_capture: OpenCapture | None = None,
    ) -> None:
        if open_capture is None:
            import_opencv()  # in the threads it would fail once per camera
        self._shapes = {name: each.shape for name, each in settings.items()}
        self._timestamps: dict[str, float] = {}
        self._readers = {
            name: CameraReader(name, each, open_capture or OpenCVCapture)
            for name, each in settings.items()
        }
        deadline = time.monotonic() + start_timeout
        try:
            for reader in self._readers.values():
                reader.wait_for_first(max(0.0, deadline - time.monotonic()))
        except BaseException:
            self.close()
            raise

    @property
    def shapes(self) -> Mapping[str, FrameShape]:
        """Shape of each camera's frames."""
        return dict(self._shapes)

    def read(self) -> dict[str, NDArray[np.uint8]]:
        """Return the newest frame of every camera, RGB, each a new array.

        Raises:
            CameraError: If a camera is lost, or delivered no new frame for its ``stale_after``.
        """
        newest = {name: reader.newest() for name, reader in self._readers.items()}
        self._timestamps = {name: frame.time for name, frame in newest.items()}
        return {name: frame.image.copy() for name, frame in newest.items()}

    @property
    def timestamps(self) -> Mapping[str, float]:
        """Time of each frame of the last ``read``, on ``time.monotonic`` [s]."""
        return dict(self._timestamps)

    @property
    def skew(self) -> float:
        """Time between the oldest and the newest frame of the last ``read`` [s]."""
        times = self._timestamps.values()
        return max(times) - min(times) if times else 0.0

    def status(self) -> dict[str, CameraStatus]:
        """Return the state of each camera; a lost one is no error here."""
        return {name: reader.status() for name, reader in self._readers.items()}

    def close(self) -> None:
        """Release the cameras."""
        for reader in self._readers.values():
            reader.stop()
        for reader in self._readers.values():
            reader.close()
