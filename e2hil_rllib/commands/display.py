"""What training shows: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from e2hil_rllib.run.progress import STEP, Row

UPDATES = "num_updates_lifetime"
SUCCESS = "env_runners/success_rate"
AUTONOMOUS = "env_runners/autonomous_success_rate"
INTERVENTION = "env_runners/intervention_rate"
TAKEOVERS = "num_takeovers_lifetime"
RETURN = "env_runners/episode_return_mean"
ENTROPY = "learners/default_policy/policy_entropy"

_SHORT_NAMES = {
    "steps": "",
    "updates/s": "upd/s",
    "interventions": "human",
    "takeovers": "taken",
    "entropy": "H",
}
_LEFT_OUT = ("entropy", "updates/s")  # one after the other, where short names are still too long
_SPEED_WINDOW = 30  # iterations over which speeds are averaged


class TrainingDisplay:
    """Shows the newest row of a run.

    Args:
        console: Where to.
        total_steps: Steps at which training ends.
        start: Figures that training goes on from.
        plain_interval: Time between two lines where the console is not a terminal, [s].
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        console: Console,
        total_steps: int,
        start: Row,
        plain_interval: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._total = total_steps
        self._interval = plain_interval
        self._clock = clock
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=_SPEED_WINDOW)
        self._recent.append((clock(), start[STEP], start.get(UPDATES, 0.0)))
        self._next_line = -math.inf
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> TrainingDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, row: Row, robots: str = "") -> None:
        """Takes the figures of an iteration in, and how the robots are doing, if there are any."""
        now = self._clock()
        self._recent.append((now, row[STEP], row.get(UPDATES, 0.0)))
        cells = self._cells(row)
        if robots:
            cells.append(("robots", robots))
        if self._live is not None:
            self._live.update(live_line(cells, self._console.width))
        elif now >= self._next_line or row[STEP] >= self._total:
            self._next_line = now + self._interval
            text = "  ".join(f"{name} {value}" for name, value in cells)
            self._console.print(text, highlight=False, soft_wrap=True)

    def _cells(self, row: Row) -> list[tuple[str, str]]:
        steps_per_s, updates_per_s = self._speeds()
        cells = [
            ("steps", f"{thousands(row[STEP])}/{thousands(self._total)}"),
            ("updates/s", f"{updates_per_s:.0f}" if math.isfinite(updates_per_s) else "-"),
        ]
        if SUCCESS in row:
            cells += [
                ("success", percent(row[SUCCESS])),
                ("alone", percent(row.get(AUTONOMOUS, math.nan))),
                ("interventions", percent(row.get(INTERVENTION, math.nan))),
                ("takeovers", thousands(row[TAKEOVERS]) if TAKEOVERS in row else "-"),
            ]
        if math.isnan(row.get(SUCCESS, math.nan)) and math.isfinite(row.get(RETURN, math.nan)):
            cells.append(("return", f"{row[RETURN]:.1f}"))
        entropy = row.get(ENTROPY, math.nan)
        cells.append(("entropy", f"{entropy:.2f}" if math.isfinite(entropy) else "-"))
        left = (self._total - row[STEP]) / steps_per_s if steps_per_s > 0 else math.nan
        cells.append(("left", duration(left)))
        return cells

    def _speeds(self) -> tuple[float, float]:
        first, last = self._recent[0], self._recent[-1]
        seconds = last[0] - first[0]
        if seconds <= 0:
            return math.nan, math.nan
        return (last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds


def live_line(cells: list[tuple[str, str]], width: int) -> Text:
    """One line of names and values; where the terminal is narrow, in short names, and fewer."""
    line = Text("  ").join(Text.assemble((f"{name} ", "dim"), value) for name, value in cells)
    for left_out in range(len(_LEFT_OUT) + 1):
        if line.cell_len > width:
            fewer = [cell for cell in cells if cell[0] not in _LEFT_OUT[:left_out]]
            short = [(_SHORT_NAMES.get(name, name), value) for name, value in fewer]
            line = Text(" ").join(Text.assemble((f"{n} " if n else "", "dim"), v) for n, v in short)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def percent(rate: float) -> str:
    """A rate in percent, "-" before there is one."""
    return f"{100 * rate:.0f} %" if math.isfinite(rate) else "-"


def thousands(count: float) -> str:
    """A count with its thousands set apart."""
    return f"{int(count):,}".replace(",", " ")


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes, "-" where it is not known."""
    if not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes}:{rest:02d}"
