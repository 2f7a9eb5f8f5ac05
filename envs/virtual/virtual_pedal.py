"""Virtual foot pedal on a pseudo-terminal."""

import contextlib
import os
import tty
from pathlib import Path

from envs.closing import Closing
from envs.operators.keys import KEYS, KeyEvent
from envs.virtual.virtual_folder import PortFolder


class VirtualPedal(Closing):
    """Pedal that sends the characters of keys to the program that has opened the terminal.

    Attributes:
        path: Terminal to open; removed with this process or by a later one.
    """

    def __init__(self) -> None:
        """Make the terminal."""
        self._folder = PortFolder()
        self.path = str(self._folder.path / "pedal")
        # The device is held open so that readers may come and go.
        self._foot, self._device = os.openpty()
        tty.setraw(self._device)
        os.set_blocking(self._foot, False)
        Path(self.path).symlink_to(os.ttyname(self._device))
        self._closed = False

    def press(self, event: KeyEvent) -> None:
        """Press the key of an event; it is lost if nobody has read for long."""
        key = next(key for key, meaning in KEYS.items() if meaning is event)
        with contextlib.suppress(BlockingIOError):
            os.write(self._foot, key.encode())

    def close(self) -> None:
        """Take the pedal away; harmless the second time."""
        if not self._closed:
            self._closed = True
            self._folder.remove()
            os.close(self._foot)
            os.close(self._device)
