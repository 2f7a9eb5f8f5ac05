"""Rows of ended trials, also where they cannot be written."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from e2hil_rllib.disk.files import WriteError
from e2hil_rllib.report.comparison.trials import ERRORS, RESULTS
from tune_scripts.compare import progress as sweep_progress
from tune_scripts.compare.progress import SweepProgress, in_words
from tune_scripts.compare.results import ResultRow, append_row, read_results
from tune_scripts.compare.trial import Assignment

ROW = ResultRow(
    "reach", "e2hil", 0, 60, 0.5, 0.1, 0.9, 9, None, 0.1, 5, 100, 2.0, 2, "hash", "abc",
    "trials/reach/e2hil/seed_0",
)  # fmt: skip


def ended(out: Path, row: ResultRow = ROW) -> SimpleNamespace:
    """Return a trial of Tune."""
    assignment = Assignment(
        row.task, row.method, row.seed, {}, row.config_hash, row.code_version, str(out),
        row.run_dir,
    )  # fmt: skip
    return SimpleNamespace(
        trial_id="1", config={"assignment": dataclasses.asdict(assignment)},
        last_result={"row": dataclasses.asdict(row)}, pickled_error_file=None, error_file=None,
    )  # fmt: skip


def progress(total: int = 2) -> tuple[SweepProgress, io.StringIO]:
    said = io.StringIO()
    return SweepProgress(Console(file=said, width=200), total, 0), said


def test_a_row_that_a_machine_could_not_share_is_added_once(tmp_path: Path) -> None:
    shown, said = progress()
    shown.on_trial_complete(0, [], ended(tmp_path))
    assert "--out is no folder that all machines see" in said.getvalue()
    shown, said = progress()
    shown.on_trial_complete(0, [], ended(tmp_path))
    assert "machines see" not in said.getvalue()
    assert [row["code_version"] for row in read_results(tmp_path / RESULTS)] == ["abc"]


def test_a_row_of_other_code_is_not_taken_for_the_trials(tmp_path: Path) -> None:
    append_row(tmp_path / RESULTS, dataclasses.replace(ROW, code_version="old"))
    progress()[0].on_trial_complete(0, [], ended(tmp_path))
    assert [row["code_version"] for row in read_results(tmp_path / RESULTS)] == ["old", "abc"]


def test_an_error_that_cannot_be_written_is_shown_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, row: object) -> None:
        raise WriteError(f"{path} could not be written: the disk is full")

    monkeypatch.setattr(sweep_progress, "append_row", full)
    shown, said = progress()
    shown.on_trial_error(0, [], ended(tmp_path))
    shown.on_trial_complete(0, [], ended(tmp_path))
    assert f"{ERRORS} could not be written: the disk is full" in said.getvalue()
    assert "[1/2] reach e2hil seed 0 failed: no message" in said.getvalue()
    assert "[2/2] reach e2hil seed 0: 50 %" in said.getvalue()


def test_a_finished_trial_says_what_it_cost(tmp_path: Path) -> None:
    assert "9 human steps of 60, never at 90 % alone, 2 s" in in_words(dataclasses.asdict(ROW))
    row = dataclasses.replace(ROW, takeovers=4, human_steps_to_90=5, human_steps_to_lasting_90=7)
    assert "9 human steps of 60 in 4 takeovers, 5 of them until 90 % alone, 7 until it held" in (
        in_words(dataclasses.asdict(row))
    )
    shown, said = progress()
    watched = ended(tmp_path)
    watched.config["assignment"]["person"] = "patience_3"
    shown.on_trial_complete(0, [], watched)
    assert "reach e2hil patience_3 seed 0: 50 %" in said.getvalue()
