"""Examining the checkpoints of a comparison that was really run."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tune_scripts.reach import reach
from tune_scripts import examination
from tune_scripts.examination import _return_to_go
from tune_scripts.examine_selection import TABLE, app, read_rows
from tune_scripts.plan import config_hash
from tune_scripts.trial import Assignment, run_trial

STEPS = [20, 40, 60]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("comparison")
    for method, rule in (("e2hil", "entropy"), ("random", "random")):
        settings = reach(
            checkpoint={"every_steps": 20, "keep": 10}, entropy_selection={"rule": rule}
        )
        run_trial(
            Assignment(
                "reach", method, 0, settings.resolved(), config_hash(settings), "abc", str(out),
                f"trials/reach/{method}/seed_0",
            )
        )  # fmt: skip
    return out


def examine(comparison: Path, out: Path, *options: str) -> tuple[int, str]:
    given = [str(comparison), "--out", str(out), "--every", "20", "--samples", "6", *options]
    result = CliRunner().invoke(app, [*given, "--batches", "2"])
    return result.exit_code, result.output


def test_each_checkpoint_is_a_row_and_only_once(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    code, output = examine(comparison, tmp_path, "--methods", "e2hil")
    assert code == 0, output
    rows = read_rows(tmp_path / TABLE)
    assert [row["step"] for row in rows] == STEPS
    assert [row["quarter"] for row in rows] == [2, 3, 4]
    for row in rows:
        for name in ("agree_8", "agree_many", "pruned_again_8", "clipped"):
            assert 0 <= float(row[name]) <= 1, name
        for name in ("rank_8", "rank_density", "effect_own_8", "effect_whole_log"):
            assert -1 <= float(row[name]) <= 1, name
        assert float(row["rank_many"]) > float(row["rank_8"])
        assert math.isfinite(float(row["prefers_policy"]))
        assert math.isnan(float(row["upper_demonstration"]))
    assert (tmp_path / "examination.png").read_bytes()[:4] == b"\x89PNG"

    looked: list[Path] = []
    original = examination.examine
    monkeypatch.setattr(
        examination, "examine", lambda *given: looked.append(given[1]) or original(*given)
    )
    code, output = examine(comparison, tmp_path)  # now of both methods
    assert code == 0, output
    assert len(looked) == len(STEPS)
    assert all("random" in str(path) for path in looked)
    assert [row["entropy"] for row in read_rows(tmp_path / TABLE)[: len(rows)]] == [
        row["entropy"] for row in rows
    ]
    with (tmp_path / "phases.csv").open() as file:
        phases = list(csv.DictReader(file))
    assert [(p["method"], p["quarter"], p["checkpoints"]) for p in phases] == [
        (method, quarter, "1") for method in ("e2hil", "random") for quarter in "234"
    ]


def test_the_same_seed_measures_the_same(comparison: Path, tmp_path: Path):
    for name in ("one", "two"):
        assert examine(comparison, tmp_path / name, "--methods", "random")[0] == 0
    one, two = ((tmp_path / name / TABLE).read_bytes() for name in ("one", "two"))
    assert one == two
    assert examine(comparison, tmp_path / "three", "--methods", "random", "--seed", "1")[0] == 0
    assert (tmp_path / "three" / TABLE).read_bytes() != one


def test_without_checkpoints_the_way_to_have_some_is_said(comparison: Path, tmp_path: Path):
    code, output = examine(comparison, tmp_path, "--every", "7")
    assert code == 2
    assert "checkpoint.every_steps=7" in " ".join(output.split())


def test_what_was_got_from_a_step_on():
    assert _return_to_go((4, True), 3, 0.5) == 1
    assert _return_to_go((4, True), 1, 0.5) == 0.25
    assert math.isnan(_return_to_go((4, False), 1, 0.5))
    assert math.isnan(_return_to_go(None, 1, 0.5))
