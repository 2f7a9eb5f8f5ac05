"""Feed of one camera: frames as JPEG at a steady rate, with faults on demand."""

import io
import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

logger = logging.getLogger(__name__)

Source = Callable[[], NDArray[np.uint8]]
"""Function that returns a frame, uint8 RGB of shape (height, width, 3)."""


class Fault(StrEnum):
    """Fault of a camera."""

    FREEZE = "freeze"
    """The same picture again and again."""
    STALL = "stall"
    """The connection stays, but nothing comes."""
    BLACK = "black"
    """Every pixel is 0."""
    DISCONNECT = "disconnect"
    """Connections end and none is accepted, as with a pulled cable."""


class Feed:
    """Newest frame of a source as JPEG, taken at a steady rate while somebody watches.

    Args:
        camera: Name of the camera.
        source: Function that makes its frames; always called from the feed's own thread.
        fps: Frame rate [Hz].
        quality: Quality of the JPEG, 1 to 95.
    """

    def __init__(self, camera: str, source: Source, fps: float, quality: int) -> None:
        self._camera = camera
        self._source = source
        self._period = 1.0 / fps
        self._quality = quality
        self._changed = threading.Condition()
        self._fault: Fault | None = None
        self._closed = False
        self._watchers = 0
        self._jpeg = b""
        self._number = 0
        self._thread = threading.Thread(target=self._run, name=f"feed {camera}", daemon=True)
        self._thread.start()

    @property
    def gone(self) -> bool:
        """Whether the camera cannot be connected to."""
        return self._closed or self._fault is Fault.DISCONNECT

    @property
    def number(self) -> int:
        """Number of the newest frame, 0 for none."""
        return self._number

    def inject(self, fault: Fault | None) -> None:
        """Give the camera a fault from now on; None ends it."""
        with self._changed:
            self._fault = fault
            self._changed.notify_all()

    def watch(self, change: int) -> None:
        """Count watchers: 1 for one that comes, -1 for one that leaves."""
        with self._changed:
            self._watchers += change
            self._changed.notify_all()

    def next(self, number: int, timeout: float) -> tuple[bytes, int] | None:
        """Wait for a frame newer than one.

        Args:
            number: Number of the last frame seen, 0 for none.
            timeout: Longest time to wait [s].

        Returns:
            The frame and its number; None if there is none in time, or the camera is gone.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.gone or self._number > number, timeout)
            if self.gone or self._number <= number:
                return None
            return self._jpeg, self._number

    def close(self) -> None:
        """End the feed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(5.0)

    def _run(self) -> None:
        due = time.monotonic()
        while self._wait_for_watchers():
            due = max(due, time.monotonic())  # do not catch up on late frames
            try:
                self._step()
            except Exception:
                # A source that raises is a dead camera, like a broken one.
                logger.exception("the source of camera %r failed: it is gone now", self._camera)
                self.inject(Fault.DISCONNECT)
            due += self._period
            with self._changed:
                self._changed.wait_for(lambda: self._closed, max(0.0, due - time.monotonic()))

    def _wait_for_watchers(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._watchers > 0 and not self.gone))
            return not self._closed

    def _step(self) -> None:
        fault, jpeg = self._fault, self._jpeg
        if fault is Fault.STALL:
            return
        if fault is not Fault.FREEZE or not jpeg:
            frame = np.asarray(self._source())
            jpeg = self._encode(np.zeros_like(frame) if fault is Fault.BLACK else frame)
        with self._changed:
            self._jpeg, self._number = jpeg, self._number + 1
            self._changed.notify_all()

    def _encode(self, frame: NDArray[Any]) -> bytes:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(
                f"a frame of camera {self._camera!r} is {frame.dtype} of shape {frame.shape}, "
                "expected uint8 of shape (height, width, 3)"
            )
        encoded = io.BytesIO()
        Image.fromarray(frame).save(encoded, "JPEG", quality=self._quality)
        return encoded.getvalue()
