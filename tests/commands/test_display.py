"""What training shows."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

from rich.console import Console

from e2hil_rllib.commands.display import (
    TrainingDisplay,
    duration,
    live_line,
    percent,
    thousands,
)
from e2hil_rllib.run.progress import STEP, Row


def row(step: float, **changes: float) -> Row:
    figures = {
        STEP: step,
        "num_updates_lifetime": 2 * step,
        "env_runners/success_rate": 0.625,
        "env_runners/autonomous_success_rate": 0.5,
        "env_runners/intervention_rate": 0.25,
        "num_takeovers_lifetime": 1234.0,
        "learners/default_policy/policy_entropy": -1.234,
    }
    return figures | changes


def lines_of(rows: list[Row], seconds_between: float, terminal: bool = False) -> list[str]:
    text = io.StringIO()
    clock: Iterator[float] = (seconds_between * tick for tick in range(100))
    console = Console(file=text, force_terminal=terminal, width=200)
    with TrainingDisplay(console, 12_000, {STEP: 0.0}, clock=lambda: next(clock)) as display:
        for figures in rows:
            display.show(figures)
    return text.getvalue().splitlines()


def test_the_line_says_how_far_how_fast_how_well_and_how_long() -> None:
    line = lines_of([row(100), row(200)], seconds_between=25)[-1]
    assert line.split("  ") == [
        "steps 200/12 000",
        "updates/s 8",
        "success 62 %",
        "alone 50 %",
        "interventions 25 %",
        "takeovers 1 234",
        "entropy -1.23",
        "left 49:10",
    ]


def test_elsewhere_than_on_a_terminal_lines_come_now_and_then_and_at_the_end() -> None:
    lines = lines_of([row(step) for step in (100, 200, 300, 400, 12_000)], seconds_between=8)
    assert [line.split("/")[0] for line in lines] == ["steps 100", "steps 400", "steps 12 000"]


def test_a_terminal_shows_the_newest_figures() -> None:
    text = "\n".join(lines_of([row(100), row(200)], seconds_between=1, terminal=True))
    assert "200/12 000" in text and "interventions" in text


def test_what_is_not_known_yet_is_a_dash() -> None:
    rates = dict.fromkeys([key for key in row(0) if "rate" in key or "entropy" in key], math.nan)
    unknown = row(100) | rates
    del unknown["num_takeovers_lifetime"]
    line = lines_of([unknown], seconds_between=1)[0]
    assert "success -  alone -  interventions -  takeovers -  entropy -  left 1:59" in line
    assert "return -200.0" in lines_of(
        [row(100) | rates | {"env_runners/episode_return_mean": -200.0}], seconds_between=1
    )[0]  # fmt: skip


def test_words() -> None:
    assert (percent(0.5), percent(math.nan)) == ("50 %", "-")
    assert (thousands(1234567), thousands(12)) == ("1 234 567", "12")
    assert [duration(s) for s in (5, 125, 3725, math.nan)] == ["0:05", "2:05", "1 h 02 min", "-"]


def test_the_live_line_fits_into_a_narrow_terminal() -> None:
    cells = [
        ("steps", "8 000/8 000"),
        ("updates/s", "38"),
        ("success", "100 %"),
        ("alone", "100 %"),
        ("interventions", "35 %"),
        ("takeovers", "123"),
        ("entropy", "-0.41"),
        ("left", "10:00"),
    ]
    wide, short, narrow = live_line(cells, 130), live_line(cells, 100), live_line(cells, 80)
    assert "interventions 35 %  takeovers 123  entropy -0.41" in wide.plain
    assert "human 35 % taken 123 H -0.41" in short.plain
    assert narrow.plain == (
        "8 000/8 000 upd/s 38 success 100 % alone 100 % human 35 % taken 123 left 10:00"
    )
    cells = [
        ("steps", "30 000/30 000"),
        *cells[1:5],
        ("takeovers", "1 234"),
        ("left", "12 h 02 min"),
    ]
    narrow = live_line(cells, 80)
    assert narrow.cell_len <= 80
    assert narrow.plain.endswith("human 35 % taken 1 234 left 12 h 02 min")
