"""What shows only when all motors of an arm are looked at together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from e2hil_rllib.commands.doctor.findings import Found, Level
from e2hil_rllib.commands.doctor.missing import BAUDRATES
from e2hil_rllib.commands.doctor.motor import Motor

_DELAY_UNIT = 2e-6  # of Return_Delay_Time [s]
_LOOP_RATE = 30.0  # of the loop that a delay is compared with [Hz]


def examine_together(motors: Sequence[Motor]) -> Iterator[Found]:
    """Examines what motors have in common, or ought to."""
    yield from _examine_firmware(motors)
    yield from _examine_delays(motors)
    yield from _examine_rates(motors)


def _examine_firmware(motors: Sequence[Motor]) -> Iterator[Found]:
    """Whether all motors have the same firmware."""
    versions = defaultdict(list)
    for motor in motors:
        versions[motor.firmware].append(motor.servo_id)
    if len(versions) > 1:
        each = "; ".join(f"{version} in {_named(ids)}" for version, ids in versions.items())
        step = "it works here; LeRobot wants one version: update them with Feetech's program FD"
        yield Level.NOTE, f"different firmware: {each}", step


def _examine_delays(motors: Sequence[Motor]) -> Iterator[Found]:
    """What the motors' waiting before they answer costs: in a reading they wait in turn."""
    delays = {motor.servo_id: motor.held["Return_Delay_Time"] for motor in motors}
    slow = {servo_id: delay for servo_id, delay in delays.items() if delay}
    if slow:
        seconds = sum(slow.values()) * _DELAY_UNIT
        values = ", ".join(str(value) for value in sorted(set(slow.values())))
        what = (
            f"Return_Delay_Time is {values} in {_named(slow)}: each reading takes "
            f"{1e3 * seconds:.1f} ms longer, {seconds * _LOOP_RATE:.0%} of a step at "
            f"{_LOOP_RATE:.0f} Hz"
        )
        yield Level.NOTE, what, "nothing: a follower that connects sets it to 0"


def _examine_rates(motors: Sequence[Motor]) -> Iterator[Found]:
    """Whether motors that answer at the arm's rate hold another one."""
    for motor in motors:
        code = motor.held["Baud_Rate"]
        if code:
            rate = f"{BAUDRATES[code]} baud" if code < len(BAUDRATES) else "an unknown rate"
            what = f"motor {motor.servo_id} holds Baud_Rate {code}, {rate}"
            step = f"it may be silent after a power cut: set it to 0, {BAUDRATES[0]} baud"
            yield Level.FAULT, what, step


def _named(servo_ids: Iterable[int]) -> str:
    """Motors by id, such as "motors 1, 2"."""
    ids = list(servo_ids)
    return f"motor{'s' * (len(ids) > 1)} {', '.join(map(str, ids))}"
