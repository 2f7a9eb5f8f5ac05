"""Examination of the checkpoints of a real comparison."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.report.comparisons import result, write_results
from tests.tune_scripts.reach import reach
from tune_scripts.compare.plan import config_hash
from tune_scripts.compare.trial import Assignment, run_trial
from tune_scripts.examine import command as examine_selection
from tune_scripts.examine import examination
from tune_scripts.examine.command import TABLE, app, read_rows
from tune_scripts.examine.examination import MEASURES, _return_to_go
from tune_scripts.examine.examination_figure import _mean_over_seeds, write_phases
from tune_scripts.publish.command import PUBLISHED

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


def named_checkpoints(folder: Path, *steps_of_seeds: Sequence[int]) -> Path:
    """A comparison with empty checkpoint folders, at some steps of each seed."""
    write_results(folder, [result("e2hil", seed) for seed in range(len(steps_of_seeds))])
    for seed, steps in enumerate(steps_of_seeds):
        for step in steps:
            run = folder / f"trials/touch_cube/e2hil/seed_{seed}"
            (run / f"checkpoints/step_{step:09d}").mkdir(parents=True)
    return folder


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The examined checkpoints, with each measure 0.5 and the n-th entropy n."""
    paths: list[Path] = []

    def examine(run: Any, path: Path, wanted: Any) -> dict[str, float]:
        paths.append(path)
        return dict.fromkeys(MEASURES, 0.5) | {"entropy": float(len(paths))}

    monkeypatch.setattr(examination, "examine", examine)
    return paths


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_same_seed_measures_the_same(comparison: Path, tmp_path: Path):
    for name in ("one", "two"):
        assert examine(comparison, tmp_path / name, "--methods", "random")[0] == 0
    one, two = ((tmp_path / name / TABLE).read_bytes() for name in ("one", "two"))
    assert one == two
    assert examine(comparison, tmp_path / "three", "--methods", "random", "--seed", "1")[0] == 0
    assert (tmp_path / "three" / TABLE).read_bytes() != one


@pytest.mark.slow
def test_without_checkpoints_the_error_says_how_to_save_some(comparison: Path, tmp_path: Path):
    code, output = examine(comparison, tmp_path, "--every", "70")
    assert code == 2
    assert "checkpoint.every_steps=70" in " ".join(output.split())


def test_the_first_checkpoint_from_each_multiple_on_is_examined(tmp_path: Path, looked: list[Path]):
    # Killed and resumed: from there on, its checkpoints are at odd steps.
    odd = [0, 500, 1043, 1543, 2043, 2543, 2900, 5200]
    folder = named_checkpoints(tmp_path, odd, [], [1000, 2000], [500])
    code, output = examine(folder, tmp_path / "out", "--every", "1000")
    assert code == 0, output
    rows = read_rows(tmp_path / "out" / TABLE)
    assert [(row["seed"], row["step"]) for row in rows] == [
        (0, 1043), (0, 2043), (0, 5200), (2, 1000), (2, 2000),
    ]  # fmt: skip
    assert "2 of 4 trials have no checkpoint from step 1000 on" in output


def test_a_table_with_other_columns_is_refused_before_anything_is_examined(
    tmp_path: Path, looked: list[Path]
):
    folder = named_checkpoints(tmp_path, [20])
    table = tmp_path / "out" / TABLE
    assert examine(folder, table.parent)[0] == 0
    old = table.read_text().replace("entropy,", "", 1).replace(",upper_policy", ",once", 1)
    table.write_text(old)
    looked.clear()
    code, output = examine(folder, table.parent, "--seed", "1")
    assert code == 2 and not looked and table.read_text() == old
    words = " ".join(output.split())
    assert f"{table} is of another version" in words
    assert "lacks the columns entropy, upper_policy, and has in addition once." in words
    assert "--out, or remove the file" in words


def test_rows_of_other_settings_stay_in_the_table_only(
    tmp_path: Path, looked: list[Path], monkeypatch: pytest.MonkeyPatch
):
    folder, out = named_checkpoints(tmp_path, [20]), tmp_path / "out"
    drawn: list[Any] = []
    monkeypatch.setattr(
        examine_selection, "draw_examination", lambda rows, path: drawn.append(rows)
    )
    for number, options in enumerate(([], ["--seed", "1"], ["--samples", "7"]), 1):
        code, output = examine(folder, out, *options)
        assert code == 0, output
        assert len(looked) == len(read_rows(out / TABLE)) == number
        assert [row["entropy"] for row in drawn[-1]] == [number]
        (phase,) = csv.DictReader((out / "phases.csv").read_text().splitlines())
        assert (phase["checkpoints"], phase["entropy"]) == ("1", str(number))
        assert tuple(phase) == ("task", "method", "quarter", "checkpoints", *MEASURES)
        assert ("Not drawn" in output) == (number > 1)
    assert "--seed: 2 rows" in " ".join(output.split())
    assert examine(folder, out)[0] == 0  # again as at first
    assert len(looked) == 3 and [row["entropy"] for row in drawn[-1]] == [1]


def test_a_resumed_seed_is_interpolated_between_its_checkpoints():
    nan = math.nan
    points = [
        (0, 1000, 1),
        (0, 2000, nan),
        (0, 3000, 3),
        (1, 1000, 3),
        (1, 2500, 6),
        (2, 1000, nan),
    ]
    rows = [{"seed": seed, "step": step, "x": float(x)} for seed, step, x in points]
    means = _mean_over_seeds(rows, "x", [1000, 2000, 2500, 3000])
    assert means == [2, 5, (2.5 + 6) / 2, 3]
    assert math.isnan(_mean_over_seeds(rows[-1:], "x", [1000])[0])


def test_published_phases_are_those_of_the_published_rows(tmp_path: Path):
    published = PUBLISHED / "examination"
    write_phases(read_rows(published / TABLE), tmp_path / "phases.csv")
    assert (tmp_path / "phases.csv").read_bytes() == (published / "phases.csv").read_bytes()


def test_return_to_go_from_a_step_on():
    assert _return_to_go((4, True), 3, 0.5) == 1
    assert _return_to_go((4, True), 1, 0.5) == 0.25
    assert math.isnan(_return_to_go((4, False), 1, 0.5))
    assert math.isnan(_return_to_go(None, 1, 0.5))
