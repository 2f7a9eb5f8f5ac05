"""An SO101 without an SO101: both arms and the cameras, served until somebody stops them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from e2hil_rllib.commands.interrupt import StopRequest, stop_on_signal
from e2hil_rllib.errors import UserError
from envs.hardware.virtual import VirtualFolderError, VirtualSO101

_LOOK = 0.1  # [s] between two looks at whether to stop, and whether the arms live


class VirtualArmError(UserError):
    """The virtual arms cannot be started, or failed; the message says why and what to do."""


def serve_virtual(folder: Path, cameras: bool, console: Console) -> None:
    """`e2hil virtual`: serves a virtual SO101 until Ctrl-C, and removes all of it then.

    Args:
        folder: where the links to the ports and the calibrations are to be.
        cameras: whether to serve the cameras, too.
        console: where to say how it is reached.

    Raises:
        VirtualArmError: The folder cannot be used, there is no OpenGL for the cameras, or the
            simulation failed.
    """
    with _stop_when_asked() as stop:
        try:
            so101 = VirtualSO101(folder, cameras)
        except (VirtualFolderError, OSError) as error:
            raise VirtualArmError(f"The virtual SO101 cannot be started: {error}") from error
        except RuntimeError as error:
            raise VirtualArmError(
                f"The virtual SO101 cannot be started: {error}; or leave its cameras out: "
                f"e2hil virtual --dir {folder} --no-cameras"
            ) from error
        with so101:
            _introduce(so101, console)
            while not stop:
                time.sleep(_LOOK)
                try:
                    so101.check()
                except RuntimeError as error:
                    raise VirtualArmError(f"The virtual SO101 failed: {error.__cause__}") from error
            for name, arm in (("follower", so101.follower), ("leader", so101.leader)):
                _say(
                    console,
                    f"{name}: {arm.pace.steps} steps of physics, {arm.pace.overruns} overruns, "
                    f"{arm.pace.behind:.2f} s behind real time",
                )


@contextmanager
def _stop_when_asked() -> Iterator[StopRequest]:
    """As `stop_on_signal`, and also when the terminal is closed."""
    before = signal.getsignal(signal.SIGHUP)
    with stop_on_signal() as stop:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        try:
            yield stop
        finally:
            signal.signal(signal.SIGHUP, before)


def _introduce(so101: VirtualSO101, console: Console) -> None:
    """Says how everything is reached, and what to try."""
    for name, arm in (("follower", so101.follower), ("leader", so101.leader)):
        _say(console, f"{name}: port {arm.link}, calibration {arm.calibration_file}")
    for name, url in so101.cameras.urls.items() if so101.cameras else ():
        _say(console, f"{name} camera: {url}")
    arm = so101.follower
    _say(console, "In another terminal, try:")
    _say(console, f"  e2hil doctor --port {arm.link} --calibration {arm.calibration_file}")
    _say(console, "Ctrl-C stops the arms and removes these files.")


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
