"""Motor setup: search for the one connected motor, and assignment of its id and rate.

No state is kept between calls: what a motor still needs is read from the motor, so that a setup
that was killed between any two writes is simply repeated.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from envs.hardware.arm.arm_torque import read_all, write_all
from envs.hardware.bus.packets import HIGHEST_ID, OVERHEAD
from envs.hardware.bus.registers import MODEL_NUMBER
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.bus.transactions import BusCounters
from envs.hardware.errors import NoAnswerError, PortLostError, ServoFaultError

ARM_BAUDRATE = 1_000_000
"""Rate of an arm and of factory-new motors [bit/s]; code 0 of Baud_Rate."""
OTHER_BAUDRATES = (500_000, 250_000, 128_000, 115_200, 76_800, 57_600, 38_400, 19_200)
"""Other rates that a motor may have [bit/s], by the codes 1 to 7 of Baud_Rate.

Code 5 is 76 800 in the vendor's table and 57 600 in LeRobot's: both are tried.
"""
FACTORY_ID = 1
"""Id of every factory-new motor."""

OpenBus = Callable[[int], FeetechBus]
"""Function that opens the bus at a rate [bit/s].

It raises PortLostError, or ValueError for a rate that the adapter lacks.
"""

_ARM_BAUD_CODE = 0
_READINGS = 3
_PATIENCE = 1.0  # s, for a motor that stores a new id or rate

Result = TypeVar("Result")


class MotorSetupError(RuntimeError):
    """There is no motor that can be set up as connected; the message says what to do."""


@dataclass(frozen=True)
class FoundMotor:
    """The one motor that is connected.

    Attributes:
        servo_id: Current id of the motor.
        baudrate: Current rate of the motor [bit/s].
    """

    servo_id: int
    baudrate: int


def find_motor(open_bus: OpenBus, on_other_rates: Callable[[], None]) -> FoundMotor:
    """Find the only connected motor; takes 1 s, or 10 s where it is not at 1 Mbaud.

    Args:
        open_bus: Function that opens the bus, which must be closed.
        on_other_rates: Function called once before the search continues at other rates.

    Raises:
        MotorSetupError: If there is no motor, more than one, or one that is no STS3215.
        NoAnswerError: If the motor fell silent after it was found.
        PortLostError: If the port is missing or has gone away.
    """
    with open_bus(ARM_BAUDRATE) as bus:
        port = bus.port
        # Twice, since the answer to a broadcast may get lost and the search elsewhere is long.
        ids = _answering(bus) or _answering(bus)
        if ids:
            return FoundMotor(_only(bus, ids), ARM_BAUDRATE)
    on_other_rates()
    refused = []
    for rate in OTHER_BAUDRATES:
        try:
            bus = open_bus(rate)
        except (PortLostError, ValueError):  # not every adapter has every rate
            refused.append(rate)
            continue
        with bus:
            ids = _answering(bus)
            if ids:
                return FoundMotor(_only(bus, ids), rate)
    # A port that has gone away meanwhile refuses every rate, and is no missing motor.
    open_bus(ARM_BAUDRATE).close()
    untried = f" (this adapter has no {', '.join(map(str, refused))} baud)" if refused else ""
    raise MotorSetupError(
        f"no motor answers on port {port} at any speed{untried}: check that the power supply is "
        "plugged into the board and fits the motor, and that the three-wire cable sits firmly in "
        "the board and in the motor"
    )


def assign_id(open_bus: OpenBus, motor: FoundMotor, servo_id: int) -> None:
    """Give the only connected motor its id and 1 Mbaud, and read both back.

    The torque is switched off first. A motor that is already set up is only locked and read.

    Args:
        open_bus: Function that opens the bus, which must be closed.
        motor: Motor as it was found.
        servo_id: New id of the motor.

    Raises:
        MotorSetupError: If another motor has the new id, or the motor did not keep a value.
        NoAnswerError: If the motor fell silent.
        PortLostError: If the port has gone away.
    """
    if motor.baudrate != ARM_BAUDRATE:
        with open_bus(motor.baudrate) as bus:
            _unlock(bus, motor.servo_id)
            _set_moving(bus, motor.servo_id, "Baud_Rate", _ARM_BAUD_CODE)
    with open_bus(ARM_BAUDRATE) as bus:
        _await(bus, motor.servo_id)
        if motor.servo_id != servo_id:
            _require_free(bus, servo_id)
        _unlock(bus, motor.servo_id)
        if _read(bus, motor.servo_id, "Baud_Rate") != _ARM_BAUD_CODE:
            _set_moving(bus, motor.servo_id, "Baud_Rate", _ARM_BAUD_CODE)
        if motor.servo_id != servo_id:
            _set_moving(bus, motor.servo_id, "ID", servo_id)
            _await(bus, servo_id)
        write_all(bus, "Lock", {servo_id: 1})
        _verify(bus, servo_id)


def already_set(bus: FeetechBus, servo_id: int) -> bool:
    """Return whether a motor has this id, and lock it if it was left unlocked.

    Args:
        bus: Bus at 1 Mbaud; other motors may be connected.
        servo_id: Id to look for.

    Raises:
        MotorSetupError: If the motor is no STS3215, or perhaps two motors have the id.
        NoAnswerError: If the motor fell silent after it was found.
        PortLostError: If the port has gone away.
    """
    try:
        _identify(bus, servo_id)
    except NoAnswerError:
        return False
    if not _read(bus, servo_id, "Lock"):
        write_all(bus, "Lock", {servo_id: 1})
    return True


def _answering(bus: FeetechBus) -> list[int]:
    """Return the ids that answer at the rate of the bus."""
    return _undisturbed(bus, bus.broadcast_ping, "garbled answers")


def _only(bus: FeetechBus, ids: Sequence[int]) -> int:
    """Return the only id that answers."""
    if len(ids) > 1:
        raise MotorSetupError(
            f"motors {', '.join(map(str, ids))} answer on port {bus.port}: unplug all but one"
        )
    _identify(bus, ids[0])
    return ids[0]


def _identify(bus: FeetechBus, servo_id: int) -> None:
    """Refuse another model and motors that share an id."""
    garbled = f"garbled answers from motor {servo_id}"
    model = _undisturbed(bus, lambda: bus.ping(servo_id), garbled)
    if model != MODEL_NUMBER:
        raise MotorSetupError(
            f"motor {servo_id} on port {bus.port} is model {model}, expected {MODEL_NUMBER} "
            "(STS3215): it was left as it is; connect an STS3215 in its place"
        )

    # Two motors may answer a ping alike and at the same moment, but their positions differ.
    def read() -> None:
        for _ in range(_READINGS):
            bus.read_telemetry([servo_id])

    _undisturbed(bus, read, garbled)


def _undisturbed(bus: FeetechBus, ask: Callable[[], Result], garbled: str) -> Result:
    """Ask, and ask once more if there was garbage among the answers.

    Args:
        bus: Bus that is asked.
        ask: Function that asks.
        garbled: Description of garbage that comes twice, for the error.

    Raises:
        MotorSetupError: If there was garbage both times.
        NoAnswerError: If there was silence.
    """
    for _ in range(2):
        before = replace(bus.counters)
        try:
            result = ask()
        except NoAnswerError:
            if not _garbled(bus, before):
                raise
            continue
        if not _garbled(bus, before):
            return result
    raise MotorSetupError(
        f"{garbled} on port {bus.port}: perhaps two motors with the same id are connected, "
        "then unplug all but one; otherwise check the motor's cable"
    )


def _garbled(bus: FeetechBus, before: BusCounters) -> bool:
    """Return whether bytes that belong to no answer were received since ``before``."""
    if bus.counters.bad_packets > before.bad_packets:
        return True
    stray = bus.counters.discarded_bytes - before.discarded_bytes
    # The echo of a ping cannot be told from garbage or an answer: the bus does not count it.
    return stray > 0 and stray > (OVERHEAD if _hears_itself(bus) else 0)


def _hears_itself(bus: FeetechBus) -> bool:
    """Return whether the adapter echoes; a READ shows that even without an answer."""
    if not bus.counters.echoes:
        with contextlib.suppress(NoAnswerError, ServoFaultError):
            bus.read(HIGHEST_ID, "ID")
    return bus.counters.echoes > 0


def _unlock(bus: FeetechBus, servo_id: int) -> None:
    """Unlock the EEPROM, with the torque off: switching it on would lock the EEPROM again."""
    write_all(bus, "Torque_Enable", {servo_id: 0})
    write_all(bus, "Lock", {servo_id: 0})


def _set_moving(bus: FeetechBus, servo_id: int, name: str, value: int) -> None:
    """Write ID or Baud_Rate, whose confirmation may come with the new id or rate."""
    with contextlib.suppress(NoAnswerError):
        write_all(bus, name, {servo_id: value})


def _await(bus: FeetechBus, servo_id: int) -> None:
    """Wait until a motor with a new id or rate answers."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            bus.ping(servo_id)
            return
        except NoAnswerError as error:
            if time.monotonic() > deadline:
                raise MotorSetupError(
                    f"the motor does not answer as motor {servo_id} at {ARM_BAUDRATE} baud on "
                    f"port {bus.port}: check its cable, then set it up again"
                ) from error


def _require_free(bus: FeetechBus, servo_id: int) -> None:
    """Refuse an id that another motor has: two motors with one id can only be unplugged."""
    try:
        bus.ping(servo_id)
    except NoAnswerError:
        return
    raise MotorSetupError(
        f"another motor on port {bus.port} has id {servo_id} already: unplug all but one"
    )


def _read(bus: FeetechBus, servo_id: int, name: str) -> int:
    return read_all(bus, name, [servo_id])[servo_id]


def _verify(bus: FeetechBus, servo_id: int) -> None:
    """Check what was written."""
    held = {name: _read(bus, servo_id, name) for name in ("ID", "Baud_Rate", "Lock")}
    held["Model_Number"] = bus.ping(servo_id)
    wanted = {"ID": servo_id, "Baud_Rate": _ARM_BAUD_CODE, "Lock": 1, "Model_Number": MODEL_NUMBER}
    wrong = [
        f"{name} {held[name]}, not {value}" for name, value in wanted.items() if held[name] != value
    ]
    if wrong:
        raise MotorSetupError(
            f"motor {servo_id} on port {bus.port} did not keep what was written "
            f"({', '.join(wrong)}): set it up again; replace it if this returns"
        )
