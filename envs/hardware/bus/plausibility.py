"""Plausibility check of servo readings.

The checksum of the bus is an 8-bit sum: of the answers that were damaged in several bytes, about
1 in 256 passes. Such a reading is mostly far from anything a servo can do, so each register is
held to a range and to the fastest change that physics allows since the last believed reading.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from envs.hardware.bus.registers import TICKS_PER_TURN
from envs.hardware.bus.telemetry import Telemetry


@dataclass(frozen=True)
class Limits:
    """Range and rate of change of a register, in its own unit.

    Attributes:
        lowest: Lowest value.
        highest: Highest value.
        rate: Fastest change per second; infinite where the value may jump.
        slack: Change that is always believed, for noise and rounding.
        period: Number after which the value wraps around; 0 if it does not.
    """

    lowest: int
    highest: int
    rate: float = math.inf
    slack: float = 0.0
    period: int = 0

    def objection(self, value: int, previous: int | None, elapsed: float) -> str | None:
        """Return the objection to a value, None if there is none.

        Args:
            value: Value of the register.
            previous: Last believed value; None if there is none.
            elapsed: Time since then [s].
        """
        if not self.lowest <= value <= self.highest:
            return f"{value} is outside {self.lowest} to {self.highest}"
        if previous is None:
            return None
        change = abs(value - previous)
        if self.period:
            change = min(change, self.period - change)
        allowed = self.slack + self.rate * elapsed
        if change > allowed:
            return f"{previous} to {value} in {elapsed:.3f} s, more than {allowed:.0f}"
        return None


STS3215_LIMITS: Mapping[str, Limits] = {
    # 6500 ticks/s are 10 rad/s: twice the fastest servo of the arm, and what a hand can do with a
    # leader arm. The ticks wrap around where a joint turns all the way, as wrist_roll may.
    "Present_Position": Limits(0, TICKS_PER_TURN - 1, rate=6500, slack=40, period=TICKS_PER_TURN),
    # In units of one tick per second; in the coarse unit everything is 50 times smaller.
    "Present_Velocity": Limits(-7000, 7000),
    "Present_Load": Limits(-1000, 1000),
    # A servo dies above 14 V. The supply sags by volts within milliseconds when joints stall.
    "Present_Voltage": Limits(30, 140, rate=200, slack=30),
    # Warms up by some degrees per minute; the sensor is noisy by one or two.
    "Present_Temperature": Limits(0, 100, rate=1, slack=3),
    "Status": Limits(0, 0x2F),
    "Moving": Limits(0, 1),
    # The stall current is 2.7 A, 415 bits.
    "Present_Current": Limits(-500, 500),
}
"""Limits of the telemetry registers of an STS3215 in an SO101."""


def objections(
    reading: Mapping[str, int],
    previous: Mapping[str, int] | None,
    elapsed: float,
    limits: Mapping[str, Limits] = STS3215_LIMITS,
) -> list[str]:
    """List the objections to the registers of one servo; empty if the reading is plausible.

    Args:
        reading: Register values by name; registers without limits are not checked.
        previous: Last believed reading of the same servo; None checks the ranges only.
        elapsed: Time since then [s].
        limits: Limits of each register.
    """
    found = []
    for name in reading.keys() & limits.keys():
        before = None if previous is None else previous.get(name)
        objection = limits[name].objection(reading[name], before, elapsed)
        if objection:
            found.append(f"{name}: {objection}")
    return sorted(found)


class PlausibilityCheck:
    """Check of each reading of some servos against the last believed one.

    A servo whose reading was doubted keeps its old reading as the reference, and the older that is,
    the more change is allowed: a true jump is believed after a while.
    """

    def __init__(self, limits: Mapping[str, Limits] = STS3215_LIMITS):
        self._limits = limits
        self._believed: dict[int, tuple[float, Mapping[str, int]]] = {}

    def check(self, telemetry: Telemetry, time: float) -> dict[int, list[str]]:
        """Return the objections to each doubtful servo's reading, by motor id.

        Args:
            telemetry: Reading to check.
            time: Time of the reading, on any monotonic clock [s].
        """
        doubts = {}
        for servo_id, reading in zip(telemetry.servo_ids, telemetry.registers, strict=True):
            then, previous = self._believed.get(servo_id, (time, None))
            found = objections(reading, previous, time - then, self._limits)
            if found:
                doubts[servo_id] = found
            else:
                self._believed[servo_id] = (time, reading)
        return doubts

    def forget(self) -> None:
        """Check the next reading by its ranges only, as after a pause or a power cut."""
        self._believed.clear()
