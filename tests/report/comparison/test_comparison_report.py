"""The report of a comparison: whole, partial and damaged ones."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2hil_rllib.report.comparison.comparison_report import markdown_table, write_comparison
from e2hil_rllib.report.comparison.trials import ComparisonError
from e2hil_rllib.report.run.workspace_map import Reach
from e2hil_rllib.run.evaluation_log import read_evaluations, write_evaluations
from e2hil_rllib.run.progress import STEP, read_rows, write_rows
from e2hil_rllib.run.selection_log import selection_files
from e2hil_rllib.settings.run_settings import Settings
from tests.report import runs
from tests.report.comparisons import result, whole_comparison, write_results

PICTURES = ["fig4_curves_touch_cube.png", "fig5_entropy_change_touch_cube.png",
            "fig5_influence_touch_cube.png", "fig6_workspace_touch_cube.png"]  # fmt: skip


def reach_of(settings: Settings) -> Reach | None:
    return Reach((0.14, -0.15, 0.30, 0.15), 0.04, (0.07, 0.29), 110.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two seeds of two methods on one task; not to be written to."""
    folder = tmp_path_factory.mktemp("whole")
    yield whole_comparison(folder, ["touch_cube"], ["e2hil", "hil_serl"], 2)


def sections(page: Path) -> dict[str, str]:
    """The text below each heading, tags and pictures left out."""
    text = re.sub('src="[^"]*"', "", page.read_text())
    parts = re.split("<h2>(.*?)</h2>", text)
    found = zip(["", *parts[1::2]], parts[::2], strict=True)
    return {name: re.sub("<[^>]*>", " ", part) for name, part in found}


def test_every_figure_and_table_is_there(whole: Path, tmp_path: Path) -> None:
    written = write_comparison([whole], tmp_path, reach_of)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["comparison.csv", *PICTURES, "index.html", "influence_by_source.csv"]
    for name in PICTURES:
        pixels = np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)
        assert ((pixels.max(axis=-1) - pixels.min(axis=-1)) > 80).sum() > 300, name
    text = written.page.read_text()
    assert text.count("data:image/png") == 4 and not re.search(r'(src|href)="(?!data:)', text)
    below = sections(written.page)
    assert [name.split(":")[0] for name in below] == [
        "", "Table I", "Figure 4", "Figure 5, left", "Figure 5, right, and Table II", "Figure 6",
    ]  # fmt: skip
    assert len(written.notes) == 1 and "fewer than 5 seeds" in below[""]
    assert "4 finished trials" in below[""] and "touch_cube: 4000 steps" in below[""]
    assert "left out, " not in text and "Left out: " not in text
    assert " nan" not in text
    with (tmp_path / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["seeds"]) for row in rows] == [("e2hil", "2"), ("hil_serl", "2")]


def test_missing_data_are_left_out_and_noted(tmp_path: Path) -> None:
    write_results(tmp_path, [result("e2hil", 0), result("hil_serl", 0)])
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "fig4_curves_other.png").write_text("of an earlier report")
    written = write_comparison([tmp_path], tmp_path / "report", reach_of)
    names = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert names == ["comparison.csv", "index.html"]
    below = list(sections(written.page).values())
    assert below[2].count("has no progress.csv") == 2
    assert "no method was evaluated more than once" in below[2]
    assert "no progress.csv has the learner" in below[3]
    assert "no run has a selection log" in below[4] and "no sample is known" in below[5]


def test_runs_that_did_not_measure_updates_have_the_slope_drawn(
    whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    old = folder / "trials/touch_cube/hil_serl"
    for path in old.glob("*/progress.csv"):
        rows = read_rows(path)
        write_rows(path, [{k: v for k, v in row.items() if "change_" not in k} for row in rows])
    below = list(sections(write_comparison([folder], tmp_path / "out", reach_of).page).values())
    cells = re.findall(r"touch_cube +(\w+) +(same updates|slope over iterations) +2 ", below[3])
    assert cells == [
        ("e2hil", "same updates"),
        ("e2hil", "slope over iterations"),
        ("hil_serl", "slope over iterations"),
    ]
    assert "of hil_serl, only the slope over iterations is known" in below[3]
    assert (tmp_path / "out" / PICTURES[1]).exists()


def test_damaged_files_are_named_and_the_rest_is_drawn(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    trials = folder / "trials/touch_cube"
    progress = trials / "e2hil/seed_0/progress.csv"
    progress.write_text(progress.read_text().replace("0.", "x.", 1))
    (trials / "hil_serl/seed_1/evaluation.csv").write_text("step\n1\n")
    first = selection_files(trials / "e2hil/seed_1/selection")[0][1]
    runs.damage(first)
    (trials / "e2hil/seed_0/config.yaml").write_text("task: [")
    written = write_comparison([folder], tmp_path / "out", reach_of)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == PICTURES
    below = list(sections(written.page).values())
    assert f"Left out: {progress}, line 2" in below[2]
    assert "hil_serl/seed_1/evaluation.csv, line 2" in below[2]
    assert f"{first} is damaged" in below[4]
    assert "Left out:" in below[5] and "e2hil/seed_0/config.yaml" in below[5]


def test_trials_evaluated_once_have_no_curve_of_success(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    for path in folder.glob("trials/*/*/*/evaluation.csv"):
        path.unlink()
    for path in folder.glob("trials/*/*/*/progress.csv"):
        write_rows(path, [{STEP: 1.0, "env_runners/success_rate": 0.5}])
    written = write_comparison([folder], tmp_path / "out", lambda settings: None)
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == [PICTURES[2]]
    below = list(sections(written.page).values())
    assert below[2].count("no progress.csv has it twice") == 3
    assert "what the arm reaches is not known" in below[5]


def test_seeds_that_are_not_in_a_mean_are_named(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    trials = folder / "trials/touch_cube"
    evaluation = trials / "hil_serl/seed_1/evaluation.csv"
    episodes = read_evaluations(evaluation)
    evaluation.unlink()
    write_evaluations(evaluation, [e for e in episodes if e.step == episodes[0].step])
    for seed in (0, 1):  # one ends where the other begins
        progress = trials / f"e2hil/seed_{seed}/progress.csv"
        rows = read_rows(progress)
        write_rows(progress, rows[:20] if seed else rows[20:])
    below = list(sections(write_comparison([folder], tmp_path / "out", reach_of).page).values())
    assert (
        "touch_cube: &#x27;Success without the human&#x27; leaves out hil_serl seed 1 (fewer than "
        "two points)."
    ) in below[2]
    assert (
        "touch_cube: &#x27;Entropy of the policy&#x27; leaves out e2hil (its seeds have no steps "
        "in common)."
    ) in below[2]
    assert below[2].count("leaves out") == 4  # the three panels of progress.csv


def test_the_markdown_table_needs_the_results_alone(tmp_path: Path) -> None:
    write_results(tmp_path / "a", [result("e2hil", seed, 0.9) for seed in range(5)])
    write_results(tmp_path / "b", [result("hil_serl", seed, 0.4) for seed in range(5)])
    text = markdown_table([tmp_path / "a", tmp_path / "b"])
    lines = text.splitlines()
    assert lines[2].startswith(
        "| touch_cube | e2hil | 5 | 90.0 (90.0 to 90.0) | 30.0 (30.0 to 30.0)"
    )
    assert lines[2].endswith("| never (0 of 5 seeds) | 1.00 (1.00 to 1.00) | 0.50 (0.14 to 0.86) |")
    assert "Warning" not in text
    assert "has no hil_serl to compare with" in markdown_table([tmp_path / "a"])


def test_nothing_is_written_where_there_are_no_results(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="not the folder of a comparison"):
        write_comparison([tmp_path], tmp_path / "out", reach_of)
    assert not (tmp_path / "out").exists()
