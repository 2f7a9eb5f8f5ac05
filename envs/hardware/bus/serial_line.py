"""Serial port that either moves bytes in bounded time or raises that it is lost."""

import contextlib
from collections.abc import Iterator

import serial

from envs.hardware.errors import PortLostError

try:
    from termios import error as TerminalError  # noqa: N812 - an exception in lower case
except ImportError:  # Windows, where pyserial needs no terminal settings
    TerminalError = OSError  # type: ignore[misc, assignment]

# Short enough to notice a deadline in time, and read() returns early when its bytes are there.
_POLL_SECONDS = 0.002
_WRITE_SECONDS = 0.2


class SerialLine:
    """Exclusively opened serial port, 8N1."""

    def __init__(self, port: str, baudrate: int):
        """Open the port.

        Args:
            port: Path of the port, such as /dev/ttyACM0.
            baudrate: Bits per second.

        Raises:
            PortLostError: If the port is missing, not permitted or in use.
        """
        self.port = port
        self.baudrate = baudrate
        self._serial: serial.Serial | None = None
        self.open()

    def open(self) -> None:
        """Open the port again, without what was received meanwhile.

        Raises:
            PortLostError: If the port is missing, not permitted or in use.
        """
        self.close()
        with self._losing():
            self._serial = serial.Serial(
                self.port,
                self.baudrate,
                timeout=_POLL_SECONDS,
                write_timeout=_WRITE_SECONDS,
                exclusive=True,
            )

    def close(self) -> None:
        """Close the port, even a lost one; harmless if it is already closed."""
        device, self._serial = self._serial, None
        if device is not None:
            # A device that is gone may refuse even this, and there is nothing left to save.
            with contextlib.suppress(serial.SerialException, OSError, TerminalError):
                device.close()

    def send(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            PortLostError: If the port does not take them.
        """
        device = self._device()
        with self._losing():
            device.write(data)

    def receive(self, most: int) -> bytes:
        """Wait about 2 ms for up to ``most`` bytes and return those received.

        Raises:
            PortLostError: If the port has gone away.
        """
        device = self._device()
        with self._losing():
            return bytes(device.read(most))

    def discard(self) -> int:
        """Drop what waits to be read and return the number of bytes.

        Raises:
            PortLostError: If the port has gone away.
        """
        device = self._device()
        with self._losing():
            waiting = int(device.in_waiting)
            return len(device.read(waiting)) if waiting else 0

    def _device(self) -> serial.Serial:
        """Return the open device."""
        if self._serial is None:
            raise PortLostError(self.port, "it is closed")
        return self._serial

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        """Turn each failure of the device into ``PortLostError``, and close it."""
        try:
            yield
        except (serial.SerialException, OSError, TerminalError) as error:
            self.close()
            raise PortLostError(self.port, str(error)) from error
