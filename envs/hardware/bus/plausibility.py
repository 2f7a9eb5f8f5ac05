"""Whether a reading can be true.

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
    """What a register may hold, in its own unit.

    Attributes:
        lowest: The lowest value.
        highest: The highest value.
        rate: The fastest change per second; infinite where the value may jump.
        slack: A change that is always believed, for noise and rounding.
        period: The value wraps around after so many; 0 if it does not.
    """

    lowest: int
    highest: int
    rate: float = math.inf
    slack: float = 0.0
    period: int = 0

    def objection(self, value: int, previous: int | None, elapsed: float) -> str | None:
        """Return what speaks against a value, None if nothing does.

        Args:
            value: The register's value.
            previous: The last believed value; None if there is none.
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
    """List what speaks against the registers of one servo; empty if the reading is plausible.

    Args:
        reading: Register values by name; registers without limits are not judged.
        previous: The last believed reading of the same servo; None judges the ranges only.
        elapsed: Time since then [s].
        limits: What each register may hold.
    """
    found = []
    for name in reading.keys() & limits.keys():
        before = None if previous is None else previous.get(name)
        objection = limits[name].objection(reading[name], before, elapsed)
        if objection:
            found.append(f"{name}: {objection}")
    return sorted(found)


class PlausibilityCheck:
    """Judges each reading of some servos by the last one that it believed.

    A servo that was doubted keeps its old reading as the measure, and the longer that lies back,
    the more change is allowed: a true jump is believed after a while.
    """

    def __init__(self, limits: Mapping[str, Limits] = STS3215_LIMITS):
        self._limits = limits
        self._believed: dict[int, tuple[float, Mapping[str, int]]] = {}

    def check(self, telemetry: Telemetry, time: float) -> dict[int, list[str]]:
        """Return the objections to each doubtful servo's reading, by motor id.

        Args:
            telemetry: A reading.
            time: When it was taken, on any clock that only runs forward [s].
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
        """Judge the next reading by its ranges only, as after a pause or a power cut."""
        self._believed.clear()
