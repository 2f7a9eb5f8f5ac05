"""Evaluated episodes on disk, and what they come to."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from e2hil_rllib.evaluation_log import (
    EvaluatedEpisode,
    read_evaluations,
    summarize,
    write_evaluations,
)


def episodes(*successes: bool | None, start: str = "") -> list[EvaluatedEpisode]:
    return [
        EvaluatedEpisode(1000, seed, success, 10 + seed, 0.1 * seed, start)
        for seed, success in enumerate(successes)
    ]


def test_rows_are_read_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.csv"
    assert read_evaluations(path) == []
    written = [*episodes(True, False, start="left, near"), *episodes(None)]
    write_evaluations(path, written)
    assert read_evaluations(path) == written


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.csv"
    write_evaluations(path, episodes(True))
    path.write_text(path.read_text() + "1000,abc,1,2,3.0,\n")
    with pytest.raises(ValueError, match=r"evaluation\.csv, line 3.*abc"):
        read_evaluations(path)


def test_starts_are_counted_apart() -> None:
    left, right = episodes(True, True, start="left"), episodes(True, False, start="right")
    found = summarize([*right, *left])
    assert list(found) == ["all", "left", "right"]
    rates = [summary.success_rate for summary in found.values()]
    assert rates == [0.75, 1.0, 0.5]
    assert found["all"].episodes == 4 and found["left"].mean_steps == 10.5


def test_the_interval_is_wilsons() -> None:
    low, high = summarize(episodes(*[True] * 45, *[False] * 5))["all"].interval
    assert (low, high) == (pytest.approx(0.786, abs=1e-3), pytest.approx(0.957, abs=1e-3))
    low, high = summarize(episodes(*[True] * 50))["all"].interval
    assert low == pytest.approx(0.929, abs=1e-3) and high == pytest.approx(1.0)


def test_success_that_is_not_known_is_not_a_failure() -> None:
    summary = summarize(episodes(None, None))["all"]
    assert math.isnan(summary.success_rate)
    assert summary.in_words()[:2] == ("-", "-")
    with pytest.raises(ValueError, match="no evaluated episodes"):
        summarize([])
