"""Supervisor: a process of its own that releases an arm whose control process has died.

``python -m envs.hardware.letting_go.supervisor --port PORT --ids 1 2 3 4 5 6`` reads heartbeats
on its standard input. When that ends without a dismissal, as after a kill -9, or falls silent,
the supervisor opens the port, makes the current positions the goals of all energised motors, and
after some seconds lowers their torque and switches it off. A port that is still in use is left
to its user.
"""

import argparse
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from envs.hardware.arm import arm_torque
from envs.hardware.arm.arm_believed import BelievedReader
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import BusError, NoAnswerError
from envs.hardware.letting_go.supervisor_client import DISMISSAL, READY

_LOG = logging.getLogger("envs.hardware.letting_go.supervisor")

_RETRY_SECONDS = 0.1


class Life(Enum):
    """State of the control process, as its pipe shows it."""

    ALIVE = "a heartbeat came"
    SILENT = "no heartbeat came in time"
    ENDED = "the pipe was closed without a dismissal"
    DISMISSED = "the arm was let go of properly"


@dataclass(frozen=True)
class Orders:
    """Parameters of a supervisor.

    Attributes:
        port: Path of the arm's port.
        baudrate: Bits per second.
        servo_ids: Ids of the arm's motors.
        silence: Time without a heartbeat after which the supervisor tries to take over [s].
        hold: Time for which it holds the arm where it is [s].
        ramp: Time in which it then lowers the torque [s].
        patience: Longest wait for a lost or busy port, once the pipe is closed [s].
        silent_port: Longest time then for a port at which no motor answers [s].
    """

    port: str
    baudrate: int
    servo_ids: tuple[int, ...]
    silence: float
    hold: float
    ramp: float
    patience: float
    silent_port: float = 30.0


class Pipe:
    """Supervisor's end of the pipe with the heartbeats."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    def listen(self, seconds: float) -> Life:
        """Wait for a heartbeat for at most a time [s], and return the state of the process."""
        heard, _, _ = select.select([self._descriptor], [], [], seconds)
        if not heard:
            return Life.SILENT
        received = os.read(self._descriptor, 4096)
        if not received:
            return Life.ENDED
        return Life.DISMISSED if DISMISSAL in received else Life.ALIVE


def supervise(orders: Orders, pipe: Pipe) -> bool:
    """Watch until dismissed, or until the arm was released.

    Args:
        orders: Parameters of the supervisor.
        pipe: Pipe with the heartbeats.

    Returns:
        False if the arm could not be released within the patience.
    """
    while True:
        life = pipe.listen(orders.silence)
        if life is Life.DISMISSED:
            return True
        if life is not Life.ALIVE:
            _LOG.warning("port %s: %s", orders.port, life.value)
            done = take_over(orders, pipe, ended=life is Life.ENDED)
            if done is not None:
                return done


def take_over(orders: Orders, pipe: Pipe, ended: bool) -> bool | None:
    """Release the arm as soon as its port is free.

    Args:
        orders: Parameters of the supervisor.
        pipe: Pipe, which shows whether the control process is alive after all.
        ended: Whether the control process is known to have ended.

    Returns:
        Whether the arm was released within the patience; None if the control process lives.
    """
    begun = time.monotonic()
    told, silent_since = False, None
    while time.monotonic() - begun < orders.patience or not ended:
        try:
            with FeetechBus(orders.port, orders.baudrate) as bus:
                last_resort(orders, bus)
            return True
        except BusError as error:
            # Motors without power hold nothing, and the port's name may now be another device's.
            silent = ended and isinstance(error, NoAnswerError)
            silent_since = (silent_since or time.monotonic()) if silent else None
            if silent_since is not None and time.monotonic() - silent_since > orders.silent_port:
                _LOG.error("%s; nothing that could be let go of is heard there", error)
                return False
            if not told:
                _LOG.warning("not yet: %s", error)
            told = True
        if ended:
            time.sleep(_RETRY_SECONDS)
            continue
        life = pipe.listen(_RETRY_SECONDS)
        if life is Life.DISMISSED:
            return True
        if life is Life.ALIVE:
            return None
        if life is Life.ENDED:
            ended, begun = True, time.monotonic()
    _LOG.error(
        "port %s was not to be had for %g s: the arm may still be energised; support it and "
        "switch its power off",
        orders.port,
        orders.patience,
    )
    return False


def last_resort(orders: Orders, bus: FeetechBus) -> None:
    """Hold an arm where it is, then lower its torque and switch it off.

    Motors without torque stay without; motors that do not answer are skipped.

    Raises:
        NoAnswerError: If no motor answers, or one falls silent.
        PortLostError: If the port goes away.
    """
    present = []
    for servo_id in orders.servo_ids:
        try:
            bus.ping(servo_id)
        except NoAnswerError as error:
            _LOG.error("%s", error)
            continue
        present.append(servo_id)
    if not present:
        raise NoAnswerError(bus.port, orders.servo_ids, "PING", 1)
    energised = arm_torque.energised(bus, present)
    if not energised:
        _LOG.warning("port %s: no motor is energised, nothing to let go of", orders.port)
        return
    _, telemetry = BelievedReader(bus, energised).read()
    ticks = [int(tick) for tick in telemetry.position_ticks]
    arm_torque.hold(bus, dict(zip(energised, ticks, strict=True)))
    _LOG.warning("port %s: the arm is held for %g s", orders.port, orders.hold)
    time.sleep(orders.hold)
    arm_torque.ramp_down(bus, energised, orders.ramp)
    arm_torque.release(bus, energised)
    _LOG.warning("port %s: the arm is released", orders.port)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the supervisor and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="envs.hardware.letting_go.supervisor", description=__doc__
    )
    parser.add_argument("--port", required=True)
    parser.add_argument("--baudrate", type=int, default=1_000_000)
    parser.add_argument("--ids", type=int, nargs="+", required=True)
    for name in ("silence", "hold", "ramp", "patience"):
        parser.add_argument(f"--{name}", type=float, required=True, help="seconds")
    given = parser.parse_args(arguments)
    orders = Orders(
        port=given.port,
        baudrate=given.baudrate,
        servo_ids=tuple(given.ids),
        silence=given.silence,
        hold=given.hold,
        ramp=given.ramp,
        patience=given.patience,
    )
    logging.basicConfig(level=logging.INFO, format="supervisor: %(message)s")
    # A signal to the whole session must not end the process that cleans up after it.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    return 0 if supervise(orders, Pipe(sys.stdin.fileno())) else 1


if __name__ == "__main__":
    sys.exit(main())
