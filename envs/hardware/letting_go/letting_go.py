"""Safe release of an arm: hold it, move it to rest or lower its torque, and only then switch off.

Torque off in mid-air drops the arm, and a program that just ends leaves its motors energised.
"""

import atexit
import logging
import signal
import threading
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from envs.hardware.errors import BusError, PortLostError
from envs.kinematics import JOINTS
from envs.options import number, one_of

FloatArray = NDArray[np.float64]

WAYS = ("ramp", "rest", "release")
"""Ways of release: lower the torque in place; move to rest first; drop at once."""

_LOG = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NotArrivedError(RuntimeError):
    """A guarded motion ended before its target; the arm holds."""


class Released(SystemExit):
    """End of the program on SIGTERM or SIGHUP, through its ``finally`` clauses."""


@dataclass(frozen=True)
class LettingGo:
    """Settings of the release of an arm.

    Attributes:
        way: Way of release: "ramp" lowers Torque_Limit to zero where the arm is; "rest" does so
            after a guarded motion to ``rest``; "release" switches the torque off at once, and the
            arm drops.
        ramp_time: Time in which Torque_Limit reaches zero [s].
        rest: Six joint angles within the workspace [rad]; for "rest" only.

    Raises:
        TypeError: If ``ramp_time`` is no number.
        ValueError: If an entry is out of its range, or ``rest`` is missing or superfluous.
    """

    way: str = "ramp"
    ramp_time: float = 3.0
    rest: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check the entries."""
        one_of("letting_go.way", self.way, WAYS)
        number("letting_go.ramp_time", self.ramp_time, 0.1, 30.0)
        if (self.way == "rest") != (self.rest is not None):
            raise ValueError(
                f"letting_go.rest is {self.rest} and letting_go.way is {self.way!r}: give joint "
                "angles for the way 'rest', and for no other"
            )
        if self.rest is not None and (
            np.shape(self.rest) != (len(JOINTS),) or not np.isfinite(self.rest).all()
        ):
            raise ValueError(
                f"letting_go.rest must be {len(JOINTS)} angles in rad ({', '.join(JOINTS)}), got "
                f"{self.rest!r}"
            )


class Holdable(Protocol):
    """Arm that can be released safely."""

    def hold(self) -> None:
        """Make the current position the goal."""
        ...

    def move(self, joint_positions: FloatArray) -> None:
        """Move slowly through the safety layer; raise ``NotArrivedError`` if the way is blocked."""
        ...

    def ramp_down(self, seconds: float) -> None:
        """Lower the torque evenly to zero."""
        ...

    def release(self) -> None:
        """Switch the torque off at once."""
        ...


def let_go(arm: Holdable, how: LettingGo) -> None:
    """Release an energised arm safely.

    If a motor does not answer or the way to rest is blocked, the torque is lowered where the arm
    is.

    Raises:
        PortLostError: If the port has gone away; the servos keep their last goals.
        BusError: If the torque of a motor could not be switched off.
    """
    if how.way != "release":
        try:
            arm.hold()
            if how.rest is not None:
                arm.move(np.array(how.rest))
        except PortLostError:
            raise
        except (BusError, NotArrivedError) as error:
            _LOG.error("the arm is let go of where it is: %s", error)
        try:
            arm.ramp_down(how.ramp_time)
        except PortLostError:
            raise
        except BusError as error:
            _LOG.error("the torque goes off without a ramp: %s", error)
    arm.release()


class Closable(Protocol):
    """Object whose ``close`` releases an arm."""

    def close(self) -> None:
        """Release the arm; harmless the second time."""
        ...


class SafeShutdown:
    """Guard that calls ``close()`` on exceptions, signals and every other end of the program.

    Use it as a context manager, or with ``install()`` in a program that ends elsewhere. A signal
    during the release is logged and does not interrupt it. Signals can be caught in the main thread
    only; in other threads only exceptions and the interpreter's end are covered.

    Args:
        arm: Object whose ``close`` releases the arm.
    """

    def __init__(self, arm: Closable):
        self._arm = arm
        self._leaving = False
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> Self:
        """Start to catch signals and the interpreter's end."""
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._caught) for each in _SIGNALS}
        atexit.register(self.leave)
        return self

    def leave(self) -> None:
        """Release the arm, undisturbed by signals, and restore the signal handlers."""
        if self._leaving:
            return
        self._leaving = True
        try:
            self._arm.close()
        finally:
            atexit.unregister(self.leave)
            for each, handler in self._before.items():
                signal.signal(each, handler)
            self._before = {}

    def __enter__(self) -> Self:
        return self.install()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()

    def _caught(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._leaving:
            _LOG.warning("%s: the arm is being let go of already, which takes seconds", name)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise Released(128 + number)
