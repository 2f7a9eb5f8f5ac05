"""Published files of a comparison."""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.report.comparisons import result, whole_comparison, write_results
from tests.tune_scripts.compare.test_results import ROW
from tune_scripts.commands import COMMANDS, CommandRow
from tune_scripts.compare.results import ErrorRow, ResultRow, append_row
from tune_scripts.publish.command import (
    PublishError,
    app,
    commands_in_words,
    machine_in_words,
    make_small,
    publish,
)

STARTED = CommandRow("2026-01-01T10:00:00+00:00", "abc1234", "python -m x --out touch")
PICTURES = ["fig4_curves_touch_cube.png", "fig5_entropy_change_touch_cube.png",
            "fig5_influence_touch_cube.png", "fig6_workspace_touch_cube.png"]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A comparison with a known command and a failed trial; not to be written to."""
    folder = tmp_path_factory.mktemp("whole") / "touch"
    whole_comparison(folder, ["touch_cube"], ["hil_serl", "e2hil"], 2)
    append_row(folder / COMMANDS, STARTED)
    where = folder / "trials/touch_cube/random/seed_0"
    error = f"{where}/checkpoints: no space on 10.0.0.3"
    append_row(
        folder / "errors.csv",
        ErrorRow("2026", "touch_cube", "random", 0, error, "1", "abc", "trials/r"),
    )
    yield folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def listing(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_tables_figures_curves_and_their_origin_are_written(whole: Path, tmp_path: Path) -> None:
    before = listing(whole)
    arguments = [str(whole), "--name", "touch", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert listing(whole) == before
    folder = tmp_path / "touch"
    assert sorted(path.name for path in folder.iterdir()) == [
        "ABOUT.md", "comparison.csv", "curves.csv", "equal_cost.csv", "errors.csv", *PICTURES,
        "influence_by_source.csv", "results.csv",
    ]  # fmt: skip
    results = rows_of(folder / "results.csv")
    assert [(row["method"], row["seed"]) for row in results] == [
        ("e2hil", "0"), ("e2hil", "1"), ("hil_serl", "0"), ("hil_serl", "1"),
    ]  # fmt: skip
    first = next(iter(rows_of(whole / "results.csv")))
    assert {name: results[2][name] for name in first} == first
    assert results[2]["takeovers"] == ""  # which that table does not have
    (error,) = rows_of(folder / "errors.csv")
    assert (
        error["error"] == "touch/trials/touch_cube/random/seed_0/checkpoints: no space on ADDRESS"
    )
    about = (folder / "ABOUT.md").read_text()
    assert f"- `{STARTED.command}` (started {STARTED.time}; code abc1234)" in about
    assert "Code of the results: abc1234." in about and " cores, " in about
    assert "fewer than 5 seeds" in about and "table: no" not in about
    for path in folder.glob("*.csv"):
        assert f"| `{path.name}` |" in about
    table = [line for line in about.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {3} and len(table) == 2 + 6 + 4
    for path in (*folder.glob("*.csv"), folder / "ABOUT.md"):
        assert str(whole.parent) not in path.read_text()


def test_folders_are_pooled_and_earlier_results_replaced(whole: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    write_results(more, [result("e2hil", 5), result("e2hil", 1, 0.25, config_hash="e2hil-1")])
    old = tmp_path / "out" / "all"
    shutil.copytree(whole, old)  # errors, and figures of a task that is gone
    (old / "fig6_workspace_other.png").write_text("old")
    with pytest.raises(PublishError, match="more: there is no commands"):
        publish([whole, more], "all", out=tmp_path / "out")
    about = publish(
        [whole, more], "all", f"python -m x --out {more}", table=False, out=tmp_path / "out"
    )
    rows = rows_of(old / "results.csv")
    assert [row["seed"] for row in rows if row["method"] == "e2hil"] == ["0", "1", "5"]
    assert [row["success_rate"] for row in rows][1] == "0.25"  # the later folder counts
    assert about.commands[-1] == "`python -m x --out more`" and about.trials == 5
    assert not (old / "fig6_workspace_other.png").exists()
    assert "\ntable: no\n" in (old / "ABOUT.md").read_text()
    append_row(more / COMMANDS, STARTED)
    publish([more], "all", out=tmp_path / "out")
    assert not (old / "errors.csv").exists() and not list(old.glob("fig*.png"))
    assert not (old / "influence_by_source.csv").exists()


def test_persons_are_published_apart(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for person in ("patience_0.6", "patience_3"):
        run = f"trials/touch_cube/e2hil/{person}/seed_0"
        values = dataclasses.asdict(ROW) | {"person": person, "run_dir": run, "config_hash": person}
        append_row(folder / "results.csv", ResultRow(**values))
    publish([folder], "all", "python -m x", out=tmp_path / "out")
    rows = rows_of(tmp_path / "out/all/results.csv")
    assert [row["person"] for row in rows] == ["patience_0.6", "patience_3"]
    tasks = [row["task"] for row in rows_of(tmp_path / "out/all/comparison.csv")]
    assert tasks[:2] == ["touch_cube_patience_0.6", "touch_cube_patience_3"]


def test_an_invalid_name_or_command_is_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="Leave --command out"):
        publish([whole], "touch", "python", out=tmp_path)
    with pytest.raises(PublishError, match="cannot name a folder"):
        publish([whole], "../touch", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_large_pictures_get_a_palette_and_keep_their_look(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    picture = tmp_path / "a.png"
    # A soft picture with the noise of antialiased lines, which compresses badly.
    pixels = np.linspace(0, 250, 300)[:, None, None] * np.ones((300, 300, 3))
    Image.fromarray((pixels + random.integers(0, 5, pixels.shape)).astype(np.uint8)).save(picture)
    before = picture.read_bytes()
    make_small(picture, len(before))
    assert picture.read_bytes() == before
    make_small(picture, len(before) - 1)
    assert picture.stat().st_size < len(before) / 2
    small = np.asarray(Image.open(picture).convert("RGB")).astype(float)
    assert small.shape == pixels.shape and np.abs(small - pixels).mean() < 4


def test_a_restarted_command_is_listed_once() -> None:
    rows = [
        {"time": time, "code_version": code, "command": command}
        for time, code, command in (("t1", "a", "one"), ("t2", "a", "two"), ("t3", "b", "one"))
    ]
    assert commands_in_words(rows) == [
        "`one` (started t1, 2 times until t3; code a, b)",
        "`two` (started t2; code a)",
    ]


def test_the_machine_is_described_by_its_processor(tmp_path, monkeypatch) -> None:
    assert re.fullmatch(r"\d+ cores, \S.*", machine_in_words())
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: other\n")
    monkeypatch.setattr("tune_scripts.publish.command._CPU_INFO", info)
    assert machine_in_words().endswith(" cores, Some CPU @ 2 GHz")
