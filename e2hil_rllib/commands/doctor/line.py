"""The line to the motors: how fast it is, and what is lost on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from e2hil_rllib.commands.doctor.findings import Finding, Level
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import NoAnswerError

LINE_STEP = (
    "check the three-wire cables and their plugs, and use the board's own USB cable without a hub"
)

_LOWEST_RATE = 60.0  # a reading and a command at 30 Hz [transactions/s]
_HIGHEST_LOSS = 0.01
_SLOW_STEP = (
    "end other programs that need the processor; of an FTDI adapter set the latency_timer to 1 ms"
)


def examine_line(bus: FeetechBus, servo_ids: Sequence[int], seconds: float) -> Finding:
    """Reads the telemetry as fast as it comes, and counts what is lost.

    Args:
        bus: the arm's.
        servo_ids: the motors that answer.
        seconds: how long to read [s].

    Raises:
        PortLostError: if the port has gone away.
    """
    before, readings = replace(bus.counters), 0
    start = now = time.monotonic()
    while now - start < seconds:
        with contextlib.suppress(NoAnswerError):  # the counters know
            bus.read_telemetry(servo_ids)
        readings += 1
        now = time.monotonic()
    rate, after = readings / (now - start), bus.counters
    lost = after.lost_packets - before.lost_packets
    bad = after.bad_packets - before.bad_packets
    answers = readings * len(servo_ids)
    what = f"{rate:.0f} readings/s; of {answers} answers {lost} lost, {bad} damaged"
    if lost + bad > _HIGHEST_LOSS * answers:
        return Finding("line", Level.FAULT, what, LINE_STEP)
    if rate < _LOWEST_RATE:
        step = f"at least {_LOWEST_RATE:.0f} are needed: {_SLOW_STEP}"
        return Finding("line", Level.FAULT, what, step)
    return Finding("line", Level.OK, what)
