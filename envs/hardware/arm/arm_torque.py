"""Torque of servos: holding them in place, energising them without a jump, releasing them.

These functions work on motor ids and ticks, without calibration and arm model, so that the
supervisor can use them when the control process is gone.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import NoAnswerError, ServoFaultError

_LOG = logging.getLogger(__name__)

RAMP_STEPS_PER_SECOND = 20
"""Number of steps per second in which Torque_Limit goes down."""


def energised(bus: FeetechBus, servo_ids: Sequence[int]) -> list[int]:
    """Return the motors whose torque is on.

    Raises:
        NoAnswerError: If motors do not answer.
        PortLostError: If the port has gone away.
    """
    return [i for i, torque in read_all(bus, "Torque_Enable", servo_ids).items() if torque]


def hold(bus: FeetechBus, positions: Mapping[int, int]) -> None:
    """Make the current positions the goals, which the motors confirm.

    Args:
        bus: Bus of the motors.
        positions: Position of each motor, by id [ticks]; read just now, and believed.

    Raises:
        NoAnswerError: If motors do not confirm; all the others have their goal.
        PortLostError: If the port has gone away.
    """
    write_all(bus, "Goal_Position", positions)


def switch_on(bus: FeetechBus, positions: Mapping[int, int], share: float = 1.0) -> dict[int, int]:
    """Switch the torque on without a jump: a servo pulls to its old goal, so that is set first.

    Torque_Limit is set again, since an earlier ramp may have left it at zero.

    Args:
        bus: Bus of the motors.
        positions: Position of each motor, by id [ticks]; read just now, and believed.
        share: Share of the torque that the EEPROM allows.

    Returns:
        The torque that the EEPROM allows, by id, in units of Torque_Limit.

    Raises:
        NoAnswerError: If motors do not confirm; those that did not confirm their goal stay off.
        PortLostError: If the port has gone away.
    """
    hold(bus, positions)
    allowed = read_all(bus, "Max_Torque_Limit", list(positions))
    write_all(bus, "Torque_Limit", {i: int(limit * share) for i, limit in allowed.items()})
    write_all(bus, "Torque_Enable", dict.fromkeys(positions, 1))
    return allowed


def ramp_down(
    bus: FeetechBus,
    servo_ids: Sequence[int],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Lower Torque_Limit evenly to zero, so that the arm sinks instead of falling.

    Args:
        bus: Bus of the motors.
        servo_ids: Ids of the motors.
        seconds: Duration of the ramp [s].
        clock: Function that returns the time [s].
        sleep: Function that waits for a number of seconds.

    Raises:
        NoAnswerError: If motors do not answer.
        PortLostError: If the port has gone away.
    """
    full = read_all(bus, "Torque_Limit", servo_ids)
    start = clock()
    left = 1.0
    while left > 0:
        sleep(1 / RAMP_STEPS_PER_SECOND)
        left = max(0.0, 1.0 - (clock() - start) / seconds)
        bus.sync_write("Torque_Limit", {i: int(limit * left) for i, limit in full.items()})


def release(bus: FeetechBus, servo_ids: Sequence[int]) -> None:
    """Switch the torque off at once, which the motors confirm.

    Torque_Limit goes back to the EEPROM's value, so that the next program finds strong motors.

    Raises:
        NoAnswerError: If motors do not confirm; all the others are off.
        PortLostError: If the port has gone away.
    """
    write_all(bus, "Torque_Enable", dict.fromkeys(servo_ids, 0))
    write_all(bus, "Torque_Limit", read_all(bus, "Max_Torque_Limit", servo_ids))


def read_all(bus: FeetechBus, name: str, servo_ids: Sequence[int]) -> dict[int, int]:
    """Read a register of motors that may report errors.

    Raises:
        NoAnswerError: If motors do not answer.
        PortLostError: If the port has gone away.
    """
    try:
        return bus.sync_read(name, servo_ids)
    except ServoFaultError as fault:
        _LOG.warning("%s", fault)
        return {servo_id: fault.values[servo_id] for servo_id in servo_ids}


def write_all(bus: FeetechBus, name: str, values: Mapping[int, int]) -> None:
    """Write a register of motors that may report errors, each with confirmation.

    Raises:
        NoAnswerError: If motors do not confirm, after all of them have been asked.
        PortLostError: If the port has gone away.
    """
    missing: list[NoAnswerError] = []
    for servo_id, value in _in_order(values):
        try:
            bus.write(servo_id, name, value)
        except ServoFaultError as fault:
            _LOG.warning("%s", fault)
        except NoAnswerError as error:
            missing.append(error)
    if missing:
        raise missing[0]


def _in_order(values: Mapping[int, int]) -> Iterable[tuple[int, int]]:
    """Return the values by id, the tip of the arm last: the joints that carry most come first."""
    return sorted(values.items())
