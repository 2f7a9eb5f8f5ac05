"""What the person at the arm sees while it learns: one live line, or a plain line now and then."""

from __future__ import annotations

import math
import time
from typing import Any

import gymnasium
from rich.console import Console
from rich.live import Live

from e2hil_rllib.commands.arm.arm_display import LoopRecord
from e2hil_rllib.commands.arm.arm_session import is_physical
from e2hil_rllib.commands.display import live_line, percent, thousands
from e2hil_rllib.data.outcomes import outcome_rates
from e2hil_rllib.external.robot.delivery import Delivery
from e2hil_rllib.external.robot.robot_loop import Tally

_LIVE_INTERVAL = 0.25  # [s]
_PLAIN_INTERVAL = 10.0  # [s]


class RobotDisplay:
    """Shows who is in control, how it goes, and what is wrong.

    Args:
        env: Of the robot.
        delivery: To the learner.
        policy: That acts; has `updates`.
        console: Where to.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], delivery: Delivery, policy: Any, console: Console
    ) -> None:
        self._delivery, self._policy, self._console = delivery, policy, console
        self._record = LoopRecord(env) if is_physical(env) else None
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._next = 0.0
        self._human = False
        self.tally = Tally()
        """Of the loop that runs."""

    def __enter__(self) -> RobotDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
        if self._record is not None and self._record.steps:
            for line in self._record.lines():
                self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self, info: dict[str, Any]) -> None:
        """Takes a step's info in, {} while the robot stands still."""
        if self._record is not None:
            if info:
                self._record.add(info)
            else:
                self._record.begin()
        self._human = bool(info.get("is_intervention", False))
        now = time.monotonic()
        if now < self._next:
            return
        if self._live is not None:
            self._next = now + _LIVE_INTERVAL
            self._live.update(live_line(self.cells(), self._console.width))
            return
        self._next = now + _PLAIN_INTERVAL
        text = "  ".join(f"{name} {value}" for name, value in self.cells())
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def cells(self) -> list[tuple[str, str]]:
        """Names and values for a line."""
        tally, news = self.tally, self._delivery.news
        rates = outcome_rates(tally.outcomes)
        acts = "you" if self._human else "policy"
        cells = [("acts", "nobody" if tally.standing else acts)]
        if self._record is not None:
            # The first of them says who leads, which is said here already.
            cells += self._record.cells()[1:]
        cells += [
            ("episode", str(tally.episodes + 1)),
            ("success", percent(rates["success_rate"])),
            ("alone", percent(rates["autonomous_success_rate"])),
            ("interventions", percent(rates["intervention_rate"])),
            ("policy", f"{thousands(self._policy.updates)} upd, {_age(news.policy_age)} old"),
        ]
        status = self._delivery.status
        if status.trouble:
            cells.append(("learner", status.trouble))
        elif "env_steps" in news.status:
            cells.append(("learner", f"{thousands(float(news.status['env_steps']))} steps"))
        if status.waiting > 1:
            cells.append(("to send", f"{status.waiting} chunks"))
        if tally.standing:
            cells.append(("stands still", tally.standing))
        return cells


def _age(seconds: float) -> str:
    return f"{seconds:.1f} s" if math.isfinite(seconds) else "-"
