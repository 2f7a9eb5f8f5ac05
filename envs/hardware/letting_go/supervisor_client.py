"""Supervisor client in the control process: start, heartbeats, dismissal."""

import logging
import os
import select
import subprocess
import sys
from collections.abc import Sequence

_LOG = logging.getLogger(__name__)

BEAT = b"."
"""Heartbeat: the control process lives."""
DISMISSAL = b"q"
"""Dismissal: the arm was released properly."""
READY = b"ready\n"
"""Supervisor's message once it is ready to act."""

_START_SECONDS = 60.0
_END_SECONDS = 5.0


class SupervisorLostError(RuntimeError):
    """There is no supervisor that would release the arm if this process died."""


class Supervision:
    """Supervisor process for one arm.

    It gets heartbeats through a pipe, which the system closes however this process ends. A child
    that was forked from this process keeps the pipe open; then only the missing heartbeats tell.
    """

    def __init__(
        self,
        port: str,
        servo_ids: Sequence[int],
        *,
        baudrate: int = 1_000_000,
        silence: float = 2.0,
        hold: float = 5.0,
        ramp: float = 3.0,
        patience: float = 600.0,
    ):
        """Start the process and wait until it is ready.

        Args:
            port: Path of the arm's port.
            servo_ids: Ids of the arm's motors.
            baudrate: Bits per second of the port.
            silence: Time without a heartbeat after which the supervisor tries to open the port
                [s]; that fails as long as this process has it open.
            hold: Time for which it holds the arm where it is [s].
            ramp: Time in which it then lowers the torque [s].
            patience: Longest wait for a lost or busy port [s].

        Raises:
            SupervisorLostError: If the supervisor does not start.
        """
        self._port = port
        options = {"silence": silence, "hold": hold, "ramp": ramp, "patience": patience}
        command = [sys.executable, "-m", "envs.hardware.letting_go.supervisor", "--port", port]
        command += ["--baudrate", str(baudrate), "--ids", *map(str, servo_ids)]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        # A session of its own, so that signals of the terminal to this program do not reach it.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._pipe = self._process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        heard, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        if not heard or self._process.stdout.readline() != READY:
            self._process.kill()
            self._process.wait()
            raise SupervisorLostError(
                f"the supervisor of port {port} did not start within {_START_SECONDS:g} s: run "
                f"'python -m envs.hardware.letting_go.supervisor --help' and see what it says"
            )

    @property
    def pid(self) -> int:
        """Id of the supervisor's process."""
        return self._process.pid

    def beat(self, needed: bool = True) -> None:
        """Send a heartbeat.

        Args:
            needed: Whether the supervisor is still needed.

        Raises:
            SupervisorLostError: If the supervisor is needed and has ended or hangs.
        """
        try:
            os.write(self._pipe, BEAT)
        except (BrokenPipeError, BlockingIOError) as error:
            if not needed:
                return
            raise SupervisorLostError(
                f"the supervisor of port {self._port} (process {self.pid}) has ended or hangs: "
                "nobody would release the arm if this program died. Close the arm and restart"
            ) from error

    def close(self, released: bool) -> None:
        """Dismiss the supervisor, or leave the arm to it.

        Args:
            released: Whether the arm was released properly; otherwise the supervisor acts at once.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        if released:
            try:
                os.write(self._pipe, DISMISSAL)
            except (BrokenPipeError, BlockingIOError):
                _LOG.warning("the supervisor of port %s had ended or hung before", self._port)
        else:
            _LOG.error("the supervisor of port %s takes the arm over", self._port)
        self._process.stdin.close()
        self._process.stdout.close()
        if released:
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
