"""Capture from a camera through OpenCV, which only this module imports."""

import logging
import os
import sys
import time
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.frames import CameraError
from envs.hardware.cameras.camera_settings import CameraSettings

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]

_OPEN_TIMEOUT, _READ_TIMEOUT = 2000, 1000  # [ms]
_MANUAL_EXPOSURE = 1  # V4L2_EXPOSURE_MANUAL
_PACKAGES = {"libGL": "libgl1", "libglib": "libglib2.0-0", "libgthread": "libglib2.0-0"}


class Capture(Protocol):
    """Open camera."""

    def read(self) -> tuple[Image, float]:
        """Wait for the next frame.

        Returns:
            The frame, RGB in the camera's shape, and its time, on ``time.monotonic`` [s].

        Raises:
            CameraError: If the camera delivers no frame.
        """
        ...

    def release(self) -> None:
        """Release the camera."""
        ...


def import_opencv() -> ModuleType:
    """Import OpenCV, which needs system libraries that a bare machine may lack.

    Raises:
        CameraError: If it cannot be imported; the message says what to install.
    """
    # A device that stops delivering would block for ten seconds; OpenCV reads this once.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
    try:
        import cv2
    except ImportError as error:
        missing = [package for name, package in _PACKAGES.items() if name in str(error)]
        if isinstance(error, ModuleNotFoundError):
            remedy = "install it: pip install opencv-python"
        elif missing:
            remedy = f"install the missing system library: apt install {missing[0]}"
        else:
            remedy = "install its system libraries: apt install libgl1 libglib2.0-0"
        raise CameraError(
            f"cameras need OpenCV, which cannot be imported ({error}): {remedy}"
        ) from error
    return cv2


class OpenCVCapture:
    """Camera, file or stream opened by OpenCV; implements ``Capture``.

    Args:
        camera: Name of the camera, for errors.
        settings: Settings of the camera.

    Raises:
        CameraError: If the camera cannot be opened, or does not take the resolution.
    """

    def __init__(self, camera: str, settings: CameraSettings) -> None:
        self._cv2: Any = import_opencv()
        self._camera = camera
        self._settings = settings
        self._due = time.monotonic()
        self._capture = self._open()
        if not self._capture.isOpened():
            raise CameraError(
                f"camera {camera!r} cannot be opened at {settings.source!r}: check its cable, "
                "that no other program uses it, and that the source is its own (ls -l "
                "/dev/v4l/by-id lists the cameras)"
            )
        if settings.is_device:
            try:
                self._set()
            except CameraError:
                self.release()
                raise

    def read(self) -> tuple[Image, float]:
        """Wait for the next frame; see ``Capture``."""
        if self._settings.is_file:
            self._wait_for_turn()
        try:
            present = self._capture.grab() or self._rewound()
            now = time.monotonic()
            frame: Any = self._capture.retrieve()[1] if present else None
        except self._cv2.error as error:
            raise CameraError(f"camera {self._camera!r} cannot be read: {error}") from error
        if frame is None:
            raise CameraError(
                f"camera {self._camera!r} at {self._settings.source!r} stopped to deliver frames: "
                "check its cable"
            )
        if frame.shape != self._settings.shape:
            raise CameraError(
                f"camera {self._camera!r} delivers frames of shape {frame.shape}, expected "
                f"{self._settings.shape}: set its resolution to what it delivers"
            )
        return self._cv2.cvtColor(frame, self._cv2.COLOR_BGR2RGB), now

    def release(self) -> None:
        """Release the camera."""
        self._capture.release()

    def _open(self) -> Any:
        cv2, settings = self._cv2, self._settings
        if settings.is_device:
            backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
            return cv2.VideoCapture(settings.source, backend)
        timeouts = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT),
        ]
        return cv2.VideoCapture(settings.source, cv2.CAP_FFMPEG, timeouts)

    def _set(self) -> None:
        """Set a device and check what it answers.

        Raises:
            CameraError: If the resolution differs from the wanted one.
        """
        cv2, settings = self._cv2, self._settings
        width, height = settings.resolution
        # The pixel format determines the resolutions, and these the rates.
        if settings.pixel_format is not None:
            self._set_one("pixel format", "FOURCC", cv2.VideoWriter_fourcc(*settings.pixel_format))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        answer = tuple(
            round(self._capture.get(side))
            for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if answer != (width, height):
            raise CameraError(
                f"camera {self._camera!r} was set to {width}x{height} pixels, but answers "
                f"{answer[0]}x{answer[1]}: choose a resolution that it has (v4l2-ctl "
                "--list-formats-ext lists them)"
            )
        self._set_one("frame rate", "FPS", settings.fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not a queue
        if settings.exposure is not None:
            self._capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE)
            self._set_one("exposure", "EXPOSURE", settings.exposure)

    def _set_one(self, name: str, setting: str, value: float) -> None:
        which = getattr(self._cv2, f"CAP_PROP_{setting}")
        self._capture.set(which, value)
        answer = self._capture.get(which)
        if abs(answer - value) > 0.01 * abs(value):
            logger.warning(
                "camera %r was set to a %s of %g, but answers %g: it may not have it",
                *(self._camera, name, value, answer),
            )

    def _wait_for_turn(self) -> None:
        """Wait until the next frame of a file is due."""
        now = time.monotonic()
        self._due = max(self._due + 1.0 / self._settings.fps, now - 0.1)
        time.sleep(max(0.0, self._due - now))

    def _rewound(self) -> bool:
        """Rewind a file that has ended, and return whether there is a frame."""
        if not self._settings.is_file:
            return False
        self._capture.set(self._cv2.CAP_PROP_POS_FRAMES, 0)
        return bool(self._capture.grab())
