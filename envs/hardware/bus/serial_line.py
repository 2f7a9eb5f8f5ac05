"""A serial port that either moves bytes in bounded time or says that it is lost."""

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
    """The bytes of one serial port, 8N1, used by no other program at the same time."""

    def __init__(self, port: str, baudrate: int):
        """Open the port.

        Args:
            port: Its path, such as /dev/ttyACM0.
            baudrate: In bits per second.

        Raises:
            PortLostError: If the port is not there, not permitted or in use.
        """
        self.port = port
        self.baudrate = baudrate
        self._serial: serial.Serial | None = None
        self.open()

    def open(self) -> None:
        """Open the port anew; what has been received meanwhile is gone.

        Raises:
            PortLostError: As the constructor.
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
        """Close the port, also one that is lost; harmless if it is closed already."""
        device, self._serial = self._serial, None
        if device is not None:
            # A device that has gone may refuse even this, and there is nothing left to save.
            with contextlib.suppress(serial.SerialException, OSError, TerminalError):
                device.close()

    def send(self, data: bytes) -> None:
        """Hand bytes over to the port.

        Raises:
            PortLostError: If it does not take them.
        """
        device = self._device()
        with self._losing():
            device.write(data)

    def receive(self, most: int) -> bytes:
        """Wait about 2 ms for up to so many bytes and return those that came.

        Raises:
            PortLostError: If the port has gone away.
        """
        device = self._device()
        with self._losing():
            return bytes(device.read(most))

    def discard(self) -> int:
        """Throw away what waits to be read and return how many bytes that were.

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
