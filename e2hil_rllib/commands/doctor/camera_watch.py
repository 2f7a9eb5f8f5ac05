"""Opens cameras as an environment does, and watches what they deliver, frame by frame."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from e2hil_rllib.commands.doctor.camera_source import CameraSource
from envs.frames import CameraError
from envs.hardware.cameras import camera_reader
from envs.hardware.cameras.camera_capture import Capture, Image, OpenCVCapture
from envs.hardware.cameras.camera_settings import CameraSettings, Size
from envs.hardware.cameras.physical_cameras import CameraStatus, OpenCVCameras

_SETTLE = 0.5  # for what has queued up while the cameras were opened [s]
_OPEN_TIMEOUT = 2000  # [ms]


@dataclass(frozen=True)
class SeenFrame:
    """What is kept of a frame.

    Attributes:
        time: it was there, on `time.monotonic` [s].
        repeated: whether it is exactly the frame before.
        brightness: its mean, 0 to 255; 0 only where every pixel is.
    """

    time: float
    repeated: bool
    brightness: float


@dataclass(frozen=True)
class Watched:
    """What a camera delivered while it was watched.

    Attributes:
        settings: what it is set to.
        seconds: for how long it was watched [s].
        frames: that came, in their order.
        longest_gap: without a frame [s].
        age: of the newest frame at the end [s].
        status: at the end.
    """

    settings: CameraSettings
    seconds: float
    frames: Sequence[SeenFrame]
    longest_gap: float
    age: float
    status: CameraStatus

    @property
    def repeats(self) -> int:
        """How many frames are exactly the one before."""
        return sum(frame.repeated for frame in self.frames)

    def rate(self, *, with_repeats: bool) -> float:
        """Frames per second [Hz]; a frozen camera may repeat its last one at its full rate."""
        return (len(self.frames) - (0 if with_repeats else self.repeats)) / self.seconds


class _FrameLog:
    """Passes a camera's frames on, and keeps what is worth knowing of each; opens it anew, too."""

    def __init__(self) -> None:
        self.frames: list[SeenFrame] = []
        self._capture: Capture | None = None
        self._last: Image | None = None

    def open(self, camera: str, settings: CameraSettings) -> _FrameLog:
        """Opens the camera, as `OpenCVCapture` does."""
        self._capture = OpenCVCapture(camera, settings)
        return self

    def read(self) -> tuple[Image, float]:
        """Waits for the next frame; see `Capture`."""
        assert self._capture is not None, "it is opened first"
        image, now = self._capture.read()
        repeated = self._last is not None and np.array_equal(image, self._last)
        self._last = image
        self.frames.append(SeenFrame(now, repeated, float(image.mean())))
        return image, now

    def release(self) -> None:
        """Lets go of the camera."""
        if self._capture is not None:
            self._capture.release()


def watch(
    cv2: ModuleType, sources: Sequence[CameraSource], seconds: float
) -> list[Watched | CameraError]:
    """Watches cameras side by side, since they share the USB and the processor.

    Args:
        cv2: OpenCV.
        sources: the cameras.
        seconds: for how long [s].

    Returns:
        Of each camera what it delivered, or why it cannot be opened.
    """
    with _quietly(cv2), contextlib.ExitStack() as stack:
        opened: list[tuple[CameraSettings, OpenCVCameras, _FrameLog] | CameraError] = []
        for source in sources:
            log = _FrameLog()
            try:
                settings, cameras = _open(cv2, source, log)
            except CameraError as error:
                opened.append(error)
            else:
                stack.enter_context(cameras)
                opened.append((settings, cameras, log))
        if all(isinstance(each, CameraError) for each in opened):
            return [each for each in opened if isinstance(each, CameraError)]
        time.sleep(_SETTLE)
        start = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
        return [
            each if isinstance(each, CameraError) else _summarise(*each, start, end)
            for each in opened
        ]


def _open(cv2: Any, source: CameraSource, log: _FrameLog) -> tuple[CameraSettings, OpenCVCameras]:
    """Opens a camera; a stream or file decides on its size itself unless one was asked for."""
    settings = source.settings
    try:
        return settings, OpenCVCameras({source.name: settings}, open_capture=log.open)
    except CameraError:
        fixed = settings.is_device or "resolution" in source.given
        size = None if fixed else _size(cv2, settings)
        if size is None or size == settings.resolution:
            raise
    settings = replace(settings, resolution=size)
    return settings, OpenCVCameras({source.name: settings}, open_capture=log.open)


def _size(cv2: Any, settings: CameraSettings) -> Size | None:
    """Width and height that a stream or file has [pixels], None where it cannot be opened."""
    timeout = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT]
    capture = cv2.VideoCapture(settings.source, cv2.CAP_FFMPEG, timeout)
    if not capture.isOpened():
        return None
    sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    width, height = (round(capture.get(side)) for side in sides)
    capture.release()
    return width, height


@contextlib.contextmanager
def _quietly(cv2: Any) -> Iterator[None]:
    """Keeps what the table says anyway off the terminal."""
    readers, level = logging.getLogger(camera_reader.__name__), cv2.utils.logging.getLogLevel()
    readers.disabled = True
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        readers.disabled = False
        cv2.utils.logging.setLogLevel(level)


def _summarise(
    settings: CameraSettings, cameras: OpenCVCameras, log: _FrameLog, start: float, end: float
) -> Watched:
    """What a camera delivered between two times [s]."""
    (status,) = cameras.status().values()
    frames = [frame for frame in log.frames if start <= frame.time <= end]
    times = [start, *(frame.time for frame in frames), end]
    gap = max(after - before for before, after in itertools.pairwise(times))
    return Watched(settings, end - start, frames, gap, end - times[-2], status)
