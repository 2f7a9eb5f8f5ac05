"""Evaluated episodes on disk, and what they come to."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from e2hil_rllib.run.evaluation_log import (
    EvaluatedEpisode,
    judgement,
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


def test_a_classifier_is_measured_by_the_simulators_truth(tmp_path: Path) -> None:
    verdicts = [(True, True), (True, False), (False, True), (False, False), (True, True)]
    episodes = [
        EvaluatedEpisode(1, i, success, 5, 1.0, "", solved)
        for i, (success, solved) in enumerate(verdicts)
    ]
    assert judgement(episodes) == (
        "The success classifier was right in 3 of 5 episodes: 1 successes were none, 1 were missed."
    )
    write_evaluations(tmp_path / "e.csv", episodes)
    assert read_evaluations(tmp_path / "e.csv") == episodes
    assert judgement([EvaluatedEpisode(1, 0, True, 5, 1.0)]) == ""


def test_a_log_without_the_simulators_truth_reads_as_before(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("step,seed,success,steps,return,start\n1,2,1,3,1.0,left\n")
    (episode,) = read_evaluations(tmp_path / "e.csv")
    assert episode.task_succeed is None
