"""The run folder: one process at a time, and settings that say what was run."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2hil_rllib.run.run_folder import RunFolder, RunFolderError
from e2hil_rllib.settings.run_settings import Settings

HOLDER = """
import sys, time
from e2hil_rllib.run.run_folder import RunFolder
with RunFolder(sys.argv[1]).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_processes_cannot_train_in_one_folder_but_a_dead_one_does_not_hold_it(
    tmp_path: Path,
) -> None:
    run = RunFolder(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, run.root], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match=f"number {holder.pid}"), run.locked():
            pytest.fail("the lock was given twice")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with run.locked():
        assert run.is_new()


def test_settings_are_read_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert run.is_new()
    settings = Settings.model_validate({"task": "Pendulum-v1", "stop": {"steps": 10}})
    run.write_settings(settings)
    assert run.settings().resolved() == settings.spelled_out().resolved()
    assert not run.is_new()


def test_a_run_that_never_began_can_be_made_new_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_settings(Settings.model_validate({"task": "Pendulum-v1", "stop": {"steps": 10}}))
    for folder in (run.demonstrations, run.crops):
        folder.mkdir()
        (folder / "file").write_text("left over")
    run.clear()
    assert run.is_new()


def test_another_folder_is_not_taken_for_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no config\.yaml"):
        RunFolder(tmp_path).settings()


def test_a_run_that_was_killed_while_its_first_file_was_written_is_new(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    leftovers = (tmp_path / ".config.yaml.7.tmp", run.episodes / ".episode_000001.parquet.7.tmp")
    run.episodes.mkdir()
    for path in leftovers:
        path.write_text("half")
    run.episodes.rename(tmp_path.parent / "episodes")
    assert run.is_new()
    (tmp_path.parent / "episodes").rename(run.episodes)
    with run.locked():
        assert not any(path.exists() for path in leftovers)


def test_what_a_kill_left_in_any_folder_of_files_goes_when_training_goes_on(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for folder in (run.episodes, run.selection, run.report):
        folder.mkdir()
        (folder / ".step_000000100.parquet.7.tmp").write_text("half")
        (folder / "step_000000100.parquet").write_text("whole")
    with run.locked():
        files = sorted(path.name for path in tmp_path.glob("*/*"))
    assert files == ["step_000000100.parquet"] * 3
