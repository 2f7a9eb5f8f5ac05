"""Tables of a comparison."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from tune_scripts.compare import results
from tune_scripts.compare.results import (
    ErrorRow,
    ResultRow,
    TableError,
    append_row,
    is_of,
    read_results,
)

PUBLISHED = sorted((Path(results.__file__).parents[1] / "results").glob("*/results.csv"))
ROW = ResultRow(
    task="touch_cube", method="e2hil", seed=0, steps=6000, success_rate=0.5, success_low=0.4,
    success_high=0.6, human_steps=928, human_steps_to_90=None, intervention_rate=0.15,
    episodes=120, updates=11_992, wall_seconds=412.5, evaluation_episodes=50,
    config_hash="0123456789ab", code_version="abc", run_dir="trials/touch_cube/e2hil/seed_0",
    takeovers=77, human_steps_to_lasting_90=500, takeovers_to_lasting_90=40, fell_back=0.86,
    evaluations=12,
)  # fmt: skip


def test_the_columns_are_those_of_the_contract(tmp_path):
    append_row(tmp_path / "results.csv", ROW)
    header, row = (tmp_path / "results.csv").read_text().splitlines()
    assert header == (
        "task,method,seed,steps,success_rate,success_low,success_high,human_steps,"
        "human_steps_to_90,intervention_rate,episodes,updates,wall_seconds,evaluation_episodes,"
        "config_hash,code_version,run_dir,person,takeovers,human_steps_to_lasting_90,"
        "takeovers_to_lasting_90,fell_back,evaluations"
    )
    assert row == (
        "touch_cube,e2hil,0,6000,0.5,0.4,0.6,928,,0.15,120,11992,412.5,50,0123456789ab,abc,"
        "trials/touch_cube/e2hil/seed_0,,77,500,40,0.86,12"
    )


def test_rows_are_read_back(tmp_path):
    path = tmp_path / "results.csv"
    assert read_results(path) == []
    for seed in range(3):
        append_row(path, dataclasses.replace(ROW, seed=seed, code_version='a,"b"\n'))
    rows = read_results(path)
    assert [row["seed"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["code_version"] == 'a,"b"\n'
    assert [is_of(row, "touch_cube", "e2hil", 1, "") for row in rows] == [False, True, False]
    assert not any(is_of(row, "touch_cube", "e2hil", 1, "patience_3") for row in rows)


def test_a_table_with_fewer_columns_is_read_and_extended(tmp_path):
    path = tmp_path / "results.csv"
    append_row(path, ROW)
    header, row = path.read_text().splitlines()
    old = [",".join(line.split(",")[:17]) for line in (header, row)]
    path.write_text("\n".join([*old, ""]))
    (before,) = read_results(path)
    assert (before["run_dir"], before["person"], before["takeovers"]) == (ROW.run_dir, "", "")
    append_row(path, dataclasses.replace(ROW, seed=1))
    assert path.read_text().splitlines()[0] == header
    assert [row["takeovers"] for row in read_results(path)] == ["", "77"]
    # What was there from the first on may not be missing.
    path.write_text(path.read_text().replace("human_steps,", "", 1))
    with pytest.raises(TableError, match="has the columns"):
        read_results(path)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_published_tables_are_read(path):
    assert all(row["run_dir"].startswith("trials/") for row in read_results(path))


def test_processes_that_end_together_lose_no_row(tmp_path: Path):
    path = tmp_path / "results.csv"
    code = (
        "import sys, dataclasses; from pathlib import Path\n"
        "from tests.tune_scripts.compare.test_results import ROW, append_row\n"
        "for n in range(10):\n"
        "    append_row(Path(sys.argv[1]), dataclasses.replace(ROW, seed=n, method=sys.argv[2]))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in ("a", "b", "c")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    rows = read_results(path)
    assert sorted((row["method"], int(row["seed"])) for row in rows) == [
        (name, seed) for name in "abc" for seed in range(10)
    ]
    assert [entry.name for entry in tmp_path.glob("*.tmp")] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [("task,seed\na,1\n", "has the columns"), ("", "has the columns"), (None, "expected 23 cells")],
)
def test_a_table_of_another_kind_is_refused_and_stays_as_it_is(tmp_path, text, message):
    path = tmp_path / "results.csv"
    append_row(path, ROW)
    before = path.read_text().replace(",trials", "") if text is None else text
    path.write_text(before)
    with pytest.raises(TableError, match=message):
        append_row(path, ROW)
    assert path.read_text() == before


def test_errors_have_a_table_of_their_own(tmp_path):
    row = ErrorRow("2026-01-01", "touch_cube", "e2hil", 0, "on fire", "01", "abc", "trials/x")
    append_row(tmp_path / "errors.csv", row)
    assert (tmp_path / "errors.csv").read_text().splitlines() == [
        "time,task,method,seed,error,config_hash,code_version,run_dir",
        "2026-01-01,touch_cube,e2hil,0,on fire,01,abc,trials/x",
    ]
