"""Motors that do not answer, and where they may be: at another rate, or with another id."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

from e2hil_rllib.commands.doctor.findings import Finding, Level
from e2hil_rllib.commands.doctor.motor import motor_name
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import NoAnswerError, PortLostError
from envs.hardware.setup.motor_setup import OTHER_BAUDRATES

BAUDRATES = (1_000_000, 500_000, 250_000, 128_000, 115_200, 57_600, 38_400, 19_200)
"""Bits per second by the code that Baud_Rate holds; an arm talks at the first."""

_POWER_STEP = "check the arm's power supply, the cable from the board to motor 1, and the port"
_CABLE_STEP = "check the three-wire cable into this motor, then that the motor has this id"


def strangers(bus: FeetechBus, expected: Iterable[int]) -> list[int]:
    """Returns the ids that answer, but belong to no joint; takes 0.8 s.

    Raises:
        PortLostError: if the port has gone away.
    """
    return sorted(set(bus.broadcast_ping()) - set(expected))


def at_other_rates(port: str, absent: Iterable[int]) -> dict[int, int]:
    """Looks for motors at the rates that an arm does not talk at.

    Args:
        port: the arm's, which nobody else has open.
        absent: ids of the motors that do not answer.

    Returns:
        Bits per second at which motors answer, by id.
    """
    found: dict[int, int] = {}
    for rate in OTHER_BAUDRATES:
        # Not every adapter has every rate: one that it refuses is not looked at.
        with (
            contextlib.suppress(PortLostError, ValueError),
            FeetechBus(port, rate, retries=0) as bus,
        ):
            for servo_id in absent:
                with contextlib.suppress(NoAnswerError):
                    bus.ping(servo_id)
                    found.setdefault(servo_id, rate)
    return found


def missing(
    port: str,
    absent: Mapping[int, str],
    wanted: int,
    others: Sequence[int],
    rates: Mapping[int, int],
) -> list[Finding]:
    """Says which motors do not answer, and what is known about them.

    Args:
        port: the arm's.
        absent: joints of the motors that do not answer, by id.
        wanted: how many motors there should be.
        others: ids that answer and belong to no joint.
        rates: bits per second at which absent motors do answer, by id.
    """
    if len(absent) == wanted and not others and not rates:
        what = f"none of {wanted} motors answers"
        return [Finding("motors", Level.FAULT, what, _POWER_STEP)]
    findings = []
    for servo_id, joint in absent.items():
        what, step = "does not answer", _CABLE_STEP
        if servo_id in rates:
            what = f"answers at {rates[servo_id]} baud, expected {BAUDRATES[0]}"
            step = f"e2hil setup-motors --port {port} --joint {joint} sets its Baud_Rate to 0"
        findings.append(Finding(motor_name(servo_id, joint), Level.FAULT, what, step))
    if others:
        ids = ", ".join(map(str, others))
        step = f"e2hil setup-motors --port {port} gives each motor the id of its joint"
        findings.append(Finding("motors", Level.NOTE, f"no joint has the id {ids}", step))
    return findings
