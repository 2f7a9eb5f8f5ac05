"""Pedal: keys from a foot pedal or a box of buttons that is a terminal device."""

import contextlib
import logging
import os
import termios
import time
from collections.abc import Callable

from envs.interfaces import HardwareError
from envs.operators.keys import KeyEvent, Keys, help_line

logger = logging.getLogger(__name__)

_AGAIN = 1.0  # period of the search for a device that has vanished [s]


class PedalError(HardwareError):
    """The pedal cannot be used; the message names it and says what to do."""


class Pedal:
    """Reader of the characters of ``envs.operators.keys.KEYS`` from a terminal device.

    It implements ``envs.operators.pressed.KeySource``. A device that vanishes later causes a
    warning, and is opened again once it is back. Presses before it was opened were meant for
    another program, and are dropped.

    Args:
        path: Path of the device, e.g. /dev/ttyACM2.
        clock: Function that returns the time [s].

    Raises:
        PedalError: If there is no such device, or it is no terminal.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self._clock = path, clock
        self._stack = contextlib.ExitStack()
        self._keys: Keys | None = None
        self._look_at = 0.0
        self._closed = False
        try:
            self._open()
        except OSError as error:
            raise PedalError(
                f"the pedal {path} cannot be read ({error.strerror or error}): plug it in, give "
                "the terminal device that it is at, or leave 'pedal' out and use the keyboard"
            ) from error

    @property
    def source(self) -> str:
        """Source of keys; a pedal that is away may come back, and counts."""
        return "none" if self._closed else f"pedal {self.path}"

    def poll(self) -> list[KeyEvent]:
        """Return the events since the last call, oldest first, without waiting."""
        if self._closed:
            return []
        if self._keys is None:
            self._look_again()
            return []
        events = self._keys.poll()
        if self._keys.source == "none":
            logger.warning("the pedal %s is gone: keys of the terminal still work", self.path)
            self._close_device()
            self._look_at = self._clock() + _AGAIN
        return events

    def close(self) -> None:
        """Read no more keys; harmless the second time."""
        self._closed = True
        self._close_device()

    def _look_again(self) -> None:
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + _AGAIN
        with contextlib.suppress(OSError):
            self._open()
            logger.warning("the pedal %s is back: %s", self.path, help_line())

    def _open(self) -> None:
        """Open the device; raise ``OSError`` if that is not possible."""
        # A serial device must not become the terminal whose end ends this program, nor keep it
        # waiting for a carrier.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(os.fdopen(descriptor))
            if not os.isatty(descriptor):
                raise OSError(f"{self.path} is no terminal device")
            try:
                termios.tcflush(descriptor, termios.TCIFLUSH)
                self._keys = stack.enter_context(Keys(stream))
            except termios.error as error:
                raise OSError(str(error)) from error
            self._stack = stack.pop_all()

    def _close_device(self) -> None:
        self._keys = None
        self._stack.close()
