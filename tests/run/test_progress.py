"""Figures of a run on disk: columns that come later, kills, and resumed runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from e2hil_rllib.disk.files import WriteError
from e2hil_rllib.run.progress import STEP, ProgressLog, as_columns, flatten, read_rows


def log_in(folder: Path, resume_step: int | None = None) -> ProgressLog:
    return ProgressLog(folder / "progress.csv", folder / "tensorboard", resume_step)


def steps_in(folder: Path) -> list[float]:
    return [row[STEP] for row in read_rows(folder / "progress.csv")]


def test_only_numbers_are_kept_and_keys_are_joined() -> None:
    result = {
        "config": {"lr": 1.0},
        "env_runners": {"success_rate": np.float32(0.5), "agents": {"a": 1}},
        "learners": {"loss": np.array(2.0), "name": "x", "all": [1, 2]},
        "done": np.bool_(True),
    }
    assert flatten(result) == {
        "env_runners/success_rate": 0.5,
        "env_runners/agents/a": 1.0,
        "learners/loss": 2.0,
        "done": 1.0,
    }


def test_a_column_that_comes_later_is_empty_before(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.append({STEP: 100, "loss": 1.5})
    log.append({STEP: 200, "loss": 1.0, "success": math.nan})
    log.append({STEP: 300, "success": 0.5})
    columns = as_columns(read_rows(tmp_path / "progress.csv"))
    np.testing.assert_array_equal(columns[STEP], [100, 200, 300])
    np.testing.assert_array_equal(columns["loss"], [1.5, 1.0, np.nan])
    np.testing.assert_array_equal(columns["success"], [np.nan, np.nan, 0.5])
    assert list((tmp_path / "tensorboard").iterdir())


def test_rows_are_on_disk_at_once(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for step in (1, 2, 3):
        log.append({STEP: step})
        assert steps_in(tmp_path)[-1] == step and log.last == {STEP: step}


def test_a_half_written_line_is_not_read_and_goes_on_resume(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.append({STEP: 100, "loss": 1.25})
    with (tmp_path / "progress.csv").open("a") as file:
        file.write("200,1.2")
    assert steps_in(tmp_path) == [100]
    log = log_in(tmp_path, resume_step=200)
    log.append({STEP: 200, "loss": 1.5})
    assert [row["loss"] for row in read_rows(tmp_path / "progress.csv")] == [1.25, 1.5]


def test_a_resumed_run_has_no_row_twice(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for step in (100, 200, 300):
        log.append({STEP: step})
    log = log_in(tmp_path, resume_step=200)
    assert steps_in(tmp_path) == [100, 200] and log.last == {STEP: 200}
    log.append({STEP: 300})
    assert steps_in(tmp_path) == [100, 200, 300]


def test_a_new_run_starts_an_empty_file(tmp_path: Path) -> None:
    log_in(tmp_path).append({STEP: 100})
    log_in(tmp_path).append({STEP: 7})
    assert steps_in(tmp_path) == [7]


def test_a_cell_that_is_no_number_is_named(tmp_path: Path) -> None:
    (tmp_path / "progress.csv").write_text(f"{STEP},loss\n1,2\n2,abc\n")
    with pytest.raises(ValueError, match=r"progress\.csv, line 3.*abc"):
        read_rows(tmp_path / "progress.csv")


def test_a_full_disk_is_told_with_the_files_name(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.append({STEP: 100})
    (tmp_path / "progress.csv").unlink()
    (tmp_path / "progress.csv").symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"progress\.csv could not be written: No space left"):
        log.append({STEP: 200})


def test_events_that_cannot_be_written_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer in a thread of its own would die there, and a full queue would hang the run."""
    log = log_in(tmp_path)
    log.append({STEP: 100})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EventsWriter, "write_event", full)
    with pytest.raises(WriteError, match="tensorboard could not be written: No space left"):
        log.append({STEP: 200})
    assert steps_in(tmp_path) == [100, 200]


def test_events_hold_every_row_and_forget_what_a_kill_undid(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for step in (100, 200):
        log.append({STEP: step, "loss": step / 8, "success": math.nan})
    log.close()
    log_in(tmp_path, resume_step=100).append({STEP: 200, "loss": 1.5})
    files = sorted((tmp_path / "tensorboard").iterdir())
    first, second = ([*_events_in(file)] for file in files)
    assert [(e.step, e.summary.value[1].simple_value) for e in first[1:]] == [
        (100, 12.5),
        (200, 25),
    ]
    assert [v.tag for v in first[1].summary.value] == [STEP, "loss"]
    assert second[1].step == 101 and second[1].session_log.status == SessionLog.START
    assert second[2].step == 200


def _events_in(file: Path) -> Iterator[Event]:
    """Events of a file: length (8 bytes), its checksum (4), the event, its checksum (4)."""
    data = file.read_bytes()
    while data:
        end = 12 + int.from_bytes(data[:8], "little")
        yield Event.FromString(data[12:end])
        data = data[end + 4 :]
