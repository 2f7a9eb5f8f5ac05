"""How an arm's control loop is doing: one line while it runs, a few at its end."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np

from e2hil_rllib.commands.display import percent
from envs.hardware.bus.transactions import BusCounters
from envs.hardware.feetech_arm import FeetechArm
from envs.kinematics import JOINTS

_RECENT = 100  # periods that the rate is taken from
_KEPT = 1_000_000  # periods, more than nine hours at 30 Hz


class LoopRecord:
    """What the steps of a physical environment tell about its loop.

    Args:
        env: the environment; its innermost arm is a `FeetechArm`.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._arm: FeetechArm = env.get_wrapper_attr("physical_arm")
        self._operator: Any = env.get_wrapper_attr("operator")
        self._read_at: float | None = None
        self.periods: list[float] = []
        """From each step's reading of the joints to the next one's [s]."""
        self.skews: list[float] = []
        """From the joints' reading to the furthest frame of each step [s]."""
        self.led = self.steps = self.interrupted = 0

    def begin(self) -> None:
        """An episode begins: the time before it is no period."""
        self._read_at = None

    def add(self, info: dict[str, Any]) -> None:
        """Takes in what a step said."""
        self.steps += 1
        self.led += bool(info["is_intervention"])
        self.interrupted += bool(info["interrupted"])
        if self._read_at is not None and len(self.periods) < _KEPT:
            self.periods.append(info["state_time"] - self._read_at)
            self.skews.append(info["skew"])
        self._read_at = None if info["interrupted"] else info["state_time"]

    @property
    def counters(self) -> BusCounters:
        """What happened on the follower's bus."""
        return self._arm.link.counters

    def cells(self) -> list[tuple[str, str]]:
        """Names and values for a live line."""
        recent = self.periods[-_RECENT:]
        rate = 1.0 / float(np.mean(recent)) if recent else math.nan
        cells = [
            ("leads", "you" if self._operator is not None and self._operator.leading else "nobody"),
            ("rate", f"{rate:.1f} Hz" if recent else "-"),
            ("late", str(self._arm.pace.overruns)),
            ("answers lost", str(self.counters.lost_packets)),
            ("bad", str(self.counters.bad_packets)),
        ]
        if self.skews:
            cells.append(("skew", f"{1000 * self.skews[-1]:.0f} ms"))
        if self._arm.held:
            cells.append(("held", self._arm.held))
        elif self._arm.limited:
            cells.append(("limited by", ", ".join(self._arm.limited)))
        if self._operator is not None and self._operator.fault:
            cells.append(("leader", self._operator.fault))
        return cells

    def warmest(self) -> str:
        """The hottest motor, in words."""
        reading = self._arm.link.newest
        if reading is None:
            return "not read"
        joint = int(reading.temperatures.argmax())
        return f"{JOINTS[joint]} {reading.temperatures[joint]:.0f} °C"

    def lines(self) -> list[str]:
        """What to print at the end."""
        seconds = float(np.sum(self.periods)) if self.periods else 0.0
        lines = [
            f"{self.steps} steps in {seconds:.0f} s, {percent(self.led / max(self.steps, 1))} of "
            f"them led by you, {self.interrupted} interrupted"
        ]
        if self.periods:
            median, high = np.percentile(self.periods, [50, 99]) * 1000
            lines.append(
                f"loop: period p50 {median:.1f} ms, p99 {high:.1f} ms; {self._arm.pace.overruns} "
                f"late, by {1000 * self._arm.pace.worst_overrun:.1f} ms at most"
            )
        if any(self.skews):
            median, high = np.percentile(self.skews, [50, 99]) * 1000
            lines.append(f"cameras: skew to the joints p50 {median:.0f} ms, p99 {high:.0f} ms")
        bus = self.counters
        lines.append(
            f"bus: {bus.transactions} transactions, {bus.retries} repeated, {bus.lost_packets} "
            f"answers lost, {bus.bad_packets} bad; warmest motor: {self.warmest()}"
        )
        return lines
