"""Camera reader: a thread that keeps the newest frame of one camera and knows its age."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from envs.frames import CameraError
from envs.hardware.cameras.camera_capture import Capture, Image
from envs.hardware.cameras.camera_settings import CameraSettings

logger = logging.getLogger(__name__)

OpenCapture = Callable[[str, CameraSettings], Capture]
"""Function that opens a camera by its name and settings, or raises CameraError."""

_RETRY = 0.3  # [s] between two attempts to open a lost camera
_CLOSE_TIMEOUT = 4.0  # [s]: longer than any single wait for a frame or an open
_RATE_WINDOW = 2.0  # [s]
_SLOW = 0.8  # share of the wanted rate


@dataclass(frozen=True)
class TimedFrame:
    """Frame with its time.

    Attributes:
        image: RGB image in the camera's shape.
        time: Time of the frame, on ``time.monotonic`` [s].
    """

    image: Image
    time: float


@dataclass(frozen=True)
class CameraStatus:
    """State of a camera.

    Attributes:
        connected: Whether the camera is open.
        age: Age of its newest frame [s]; infinite before the first.
        fps: Frames per second over the last two seconds.
        losses: Number of times it was lost, failures to open it included.
        returns: Number of times it came back.
        trouble: Reason why it is lost; "" if it is not.
    """

    connected: bool
    age: float
    fps: float
    losses: int
    returns: int
    trouble: str


class CameraReader:
    """Thread that reads a camera as fast as it delivers and keeps only the newest frame.

    A lost camera is opened again and again until it returns; both are logged.

    Args:
        camera: Name of the camera.
        settings: Settings of the camera.
        open_capture: Function that opens the camera.
    """

    def __init__(self, camera: str, settings: CameraSettings, open_capture: OpenCapture) -> None:
        self._camera = camera
        self._settings = settings
        self._open_capture = open_capture
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._frame: TimedFrame | None = None
        self._times: deque[float] = deque(maxlen=round(_RATE_WINDOW * settings.fps) + 1)
        self._repeats = 0
        self._connected = False
        self._losses = self._returns = 0
        self._lost_at: float | None = None
        self._trouble = ""
        self._said_slow = False
        self._thread = threading.Thread(target=self._run, name=f"camera {camera}", daemon=True)
        self._thread.start()

    def wait_for_first(self, timeout: float) -> None:
        """Wait until there is a frame.

        Args:
            timeout: Longest time to wait [s].

        Raises:
            CameraError: If the camera is lost, or delivers no frame in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frame or self._trouble, timeout)
            if self._frame is not None:
                return
        raise CameraError(
            self._trouble
            or f"camera {self._camera!r} delivered no frame within {timeout:.1f} s of its opening: "
            "check its cable, and that no other program uses it"
        )

    def newest(self) -> TimedFrame:
        """Return the newest frame.

        Raises:
            CameraError: If the camera is lost, or its newest frame is too old.
        """
        with self._changed:
            frame, repeats, trouble = self._frame, self._repeats, self._trouble
        if trouble:
            raise CameraError(trouble)
        age = float("inf") if frame is None else time.monotonic() - frame.time
        if frame is None or age > self._settings.stale_after:
            what = "delivers the same picture again and again, and" if repeats else "delivered"
            raise CameraError(
                f"camera {self._camera!r} {what} no new frame for {age:.2f} s, expected one every "
                f"{1.0 / self._settings.fps:.3f} s: check its cable and unplug it for a moment; "
                "where pictures may be exactly alike, set may_repeat"
            )
        return frame

    def status(self) -> CameraStatus:
        """Return the state of the camera."""
        with self._changed:
            age = float("inf") if self._frame is None else time.monotonic() - self._frame.time
            return CameraStatus(
                self._connected, age, self._rate(), self._losses, self._returns, self._trouble
            )

    def stop(self) -> None:
        """Ask the thread to end, without waiting for it."""
        self._stop.set()

    def close(self) -> None:
        """End the thread, which releases the camera."""
        self.stop()
        self._thread.join(_CLOSE_TIMEOUT)
        if self._thread.is_alive():
            logger.warning(
                "camera %r does not answer: it stays open until this program ends", self._camera
            )

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                capture = self._open_capture(self._camera, self._settings)
            except CameraError as error:
                self._lose(error)
                self._stop.wait(_RETRY)
                continue
            try:
                self._connected = True
                while not self._stop.is_set():
                    self._take(*capture.read())
            except CameraError as error:
                self._lose(error)
                self._stop.wait(_RETRY)
            finally:
                self._connected = False
                capture.release()

    def _take(self, image: Image, now: float) -> None:
        """Keep a frame; a repeated one does not count, so that the age reveals a frozen picture."""
        last = self._frame
        alike = last is not None and np.array_equal(image, last.image)
        with self._changed:
            if alike and not self._settings.may_repeat:
                self._repeats += 1
                return
            self._repeats = 0
            self._frame = TimedFrame(image, now)
            self._times.append(now)
            if self._lost_at is not None:
                self._returns += 1
                away = now - self._lost_at
                logger.warning("camera %r is back after %.1f s", self._camera, away)
                self._times.clear()
            self._lost_at, self._trouble = None, ""
            self._changed.notify_all()
        self._warn_if_slow()

    def _lose(self, error: CameraError) -> None:
        with self._changed:
            self._trouble = str(error)
            if self._lost_at is None:
                self._lost_at = time.monotonic()
                self._losses += 1
                logger.error("camera %r is lost: %s", self._camera, error)
            self._changed.notify_all()

    def _rate(self) -> float:
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-9)

    def _warn_if_slow(self) -> None:
        full, rate = len(self._times) == self._times.maxlen, self._rate()
        if full and rate < _SLOW * self._settings.fps and not self._said_slow:
            self._said_slow = True
            logger.warning(
                "camera %r delivers %.1f frames per second, expected %g: give it more light or a "
                "fixed exposure, a port of its own, or a lower fps",
                *(self._camera, rate, self._settings.fps),
            )
