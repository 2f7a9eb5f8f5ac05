"""Finished trials: reading, pooling, refusals and notes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from e2hil_rllib.report.comparison.trials import ComparisonError, read_comparison
from tests.report.comparisons import result, write_results


def test_rows_are_read_and_sorted_by_task_method_and_seed(tmp_path: Path) -> None:
    rows = [
        result("random", 0),
        result("mine", 0),
        result("hil_serl", 3, 0.25, human_steps_to_90=120),
        result("hil_serl", 1, 0.75, intervention_rate=0.125),
        result("e2hil", 0, task="reach", steps=10),
    ]
    write_results(tmp_path, rows)
    comparison = read_comparison([tmp_path])
    assert [trial.key for trial in comparison.trials] == [
        ("reach", "e2hil", 0), ("touch_cube", "hil_serl", 1), ("touch_cube", "hil_serl", 3),
        ("touch_cube", "random", 0), ("touch_cube", "mine", 0),
    ]  # fmt: skip
    assert comparison.tasks == ["reach", "touch_cube"]
    assert comparison.methods == ["e2hil", "hil_serl", "random", "mine"]
    one, other = comparison.of("touch_cube", "hil_serl")
    assert (one.success_rate, one.intervention_rate, one.human_steps) == (0.75, 0.125, 401)
    assert math.isinf(one.human_steps_to_90) and other.human_steps_to_90 == 120
    assert one.run.root == tmp_path / "trials/touch_cube/hil_serl/seed_1"
    assert not comparison.notes and not comparison.of("reach", "random")


def test_missing_columns_of_older_tables_are_unknown(tmp_path: Path) -> None:
    write_results(tmp_path, [result("e2hil", 0)])
    (trial,) = read_comparison([tmp_path]).trials
    unknown = (
        trial.takeovers, trial.human_steps_to_lasting_90, trial.takeovers_to_lasting_90,
        trial.fell_back,
    )  # fmt: skip
    assert all(map(math.isnan, unknown))


@pytest.mark.parametrize(
    ("evaluations", "to_lasting", "expected"),
    [(8, (300, 20), (300, 20)), (8, ("", ""), (math.inf, math.inf)), (2, ("", ""), None)],
)
def test_lasting_success_is_reached_never_reached_or_unknown(
    tmp_path: Path, evaluations: int, to_lasting: tuple[Any, Any], expected: Any
) -> None:
    columns = ("human_steps_to_lasting_90", "takeovers_to_lasting_90")
    values = dict(zip(columns, to_lasting, strict=True)) | {"evaluations": evaluations}
    write_results(tmp_path, [result("e2hil", 0, takeovers=40, fell_back=0.5, **values)])
    (trial,) = read_comparison([tmp_path]).trials
    assert (trial.takeovers, trial.fell_back) == (40, 0.5)
    found = (trial.human_steps_to_lasting_90, trial.takeovers_to_lasting_90)
    assert all(map(math.isnan, found)) if expected is None else found == expected


def test_each_person_makes_a_separate_task(tmp_path: Path) -> None:
    run = "trials/touch_cube/e2hil/patience_{}/seed_0"
    rows = [
        result("e2hil", 0, person=f"patience_{p}", run_dir=run.format(p), config_hash=f"{p}")
        for p in (0.6, 3)
    ]
    write_results(tmp_path, rows)
    (tmp_path / run.format(1.5)).mkdir(parents=True)
    comparison = read_comparison([tmp_path])
    assert comparison.tasks == ["touch_cube_patience_0.6", "touch_cube_patience_3"]
    (note,) = comparison.notes
    assert note.endswith(f"left out: {run.format(1.5)}.")


def test_folders_are_pooled(tmp_path: Path) -> None:
    write_results(tmp_path / "a", [result("e2hil", 0)])
    write_results(tmp_path / "b", [result("e2hil", 1)])
    trials = read_comparison([tmp_path / "a", tmp_path / "b"]).trials
    assert [trial.run.root.parts[-5] for trial in trials] == ["a", "b"]


def test_the_same_trial_of_other_settings_is_refused_naming_both(tmp_path: Path) -> None:
    write_results(tmp_path / "a", [result("e2hil", 0), result("e2hil", 1)])
    write_results(tmp_path / "b", [result("e2hil", 1, config_hash="other")])
    with pytest.raises(ComparisonError) as error:
        read_comparison([tmp_path / "a", tmp_path / "b"])
    text = str(error.value)
    assert "task touch_cube, method e2hil, seed 1" in text and "remove one of the rows" in text
    assert f"{tmp_path / 'a' / 'results.csv'}, line 3 (config_hash e2hil-1)" in text
    assert f"{tmp_path / 'b' / 'results.csv'}, line 2 (config_hash other)" in text


def test_the_last_row_of_a_repeated_trial_counts(tmp_path: Path) -> None:
    write_results(tmp_path, [result("e2hil", 0, 0.1), result("e2hil", 0, 0.9, code_version="new")])
    comparison = read_comparison([tmp_path])
    assert [trial.success_rate for trial in comparison.trials] == [0.9]
    assert len(comparison.notes) == 1 and "line 2: left out" in comparison.notes[0]


def test_the_last_row_of_a_resumed_run_counts(tmp_path: Path) -> None:
    longer = result("e2hil", 0, 0.9, config_hash="longer")
    write_results(tmp_path, [result("e2hil", 0, 0.1), longer])
    assert [trial.success_rate for trial in read_comparison([tmp_path]).trials] == [0.9]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"success_rate": 1.5}, "success_rate is 1.5, expected 0 to 1"),
        ({"success_rate": ""}, "success_rate is empty, expected 0 to 1"),
        ({"human_steps": -1}, "human_steps is -1, expected 0 or more"),
        ({"intervention_rate": "nan"}, "intervention_rate is nan"),
        ({"seed": "two"}, "'two'"),
        ({"human_steps_to_90": "x"}, "'x'"),
        ({"takeovers": -1}, "takeovers is -1"),
        ({"fell_back": 1.5}, "fell_back is 1.5, expected 0 to 1"),
        ({"method": ""}, "method is empty"),
    ],
)
def test_damaged_rows_are_left_out_and_named(
    tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    path = write_results(tmp_path, [result("e2hil", 0), result("e2hil", 1) | wrong])
    comparison = read_comparison([tmp_path])
    assert [trial.seed for trial in comparison.trials] == [0]
    (note,) = comparison.notes
    assert f"{path}, line 3: the row is left out" in note and message in note


def test_rows_with_too_few_or_too_many_cells_and_cut_ones_are_left_out(tmp_path: Path) -> None:
    path = write_results(tmp_path, [result("e2hil", 0), result("e2hil", 1)])
    lines = path.read_text().splitlines()
    cut = lines[2][:-3]  # a run folder that there is not
    path.write_text("\n".join([*lines[:2], lines[2] + ",1", "e2hil,3", cut]))
    comparison = read_comparison([tmp_path])
    assert [trial.seed for trial in comparison.trials] == [0]
    assert [note.split("results.csv")[1][:8] for note in sorted(comparison.notes)] == [
        ", line 3", ", line 4", ": the la",
    ]  # fmt: skip


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = write_results(tmp_path, [result("e2hil", 0)])
    path.write_text(path.read_text().replace("human_steps,", "steps_of_humans,"))
    with pytest.raises(
        ComparisonError, match=r"no finished trial.*there is no column 'human_steps"
    ):
        read_comparison([tmp_path])


def test_differences_between_trials_are_noted(tmp_path: Path) -> None:
    rows = [result("e2hil", 0), result("e2hil", 1, steps=99, code_version="x", task="reach")]
    write_results(tmp_path, [*rows, result("random", 0, steps=5000, evaluation_episodes=10)])
    notes = read_comparison([tmp_path]).notes
    assert list(notes) == [
        "Trials of different code versions are pooled: abc1234, x.",
        "Task touch_cube: trials differ in steps: 4000, 5000.",
        "Task touch_cube: trials differ in evaluation_episodes: 10, 50.",
    ]


def test_unfinished_trials_are_named(tmp_path: Path) -> None:
    write_results(tmp_path, [result("e2hil", 0)])
    for seed in (0, 1):
        (tmp_path / f"trials/touch_cube/e2hil/seed_{seed}").mkdir(parents=True)
    (tmp_path / "trials/touch_cube/e2hil/seed_2.log").touch()
    (note,) = read_comparison([tmp_path]).notes
    assert note.endswith("trials without a row, left out: trials/touch_cube/e2hil/seed_1.")
    (tmp_path / "errors.csv").touch()
    (note,) = read_comparison([tmp_path]).notes
    assert note.endswith("errors.csv says why trials failed.")


def test_other_folders_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match=r"it has no results\.csv"):
        read_comparison([tmp_path])
    write_results(tmp_path, [])
    with pytest.raises(ComparisonError, match="no finished trial to report yet"):
        read_comparison([tmp_path])
    (tmp_path / "results.csv").write_bytes(b"\xff\xfe\x00\xff")
    with pytest.raises(ComparisonError, match="is no text"):
        read_comparison([tmp_path])
