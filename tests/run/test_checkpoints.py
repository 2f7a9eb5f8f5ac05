"""Checkpoints on disk: whatever happens, the newest one is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from e2hil_rllib.run.checkpoints import CheckpointError, CheckpointStore


def write_ok(folder: Path) -> None:
    (folder / "weights").write_text(folder.name)
    (folder / "inner").mkdir()
    (folder / "inner" / "buffer").write_text("rows")


def names(store: CheckpointStore) -> list[str]:
    return [path.name for path in store.all()]


def test_the_newest_stay_and_older_ones_go(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    assert store.latest() is None
    for step in (999, 1000, 20000):
        assert CheckpointStore.step_of(store.save(step, write_ok)) == step
    assert names(store) == ["step_000001000", "step_000020000"]
    assert store.latest() == store.all()[-1]
    assert sorted(p.name for p in store.folder.iterdir()) == names(store)


def test_a_full_disk_leaves_the_previous_and_says_so(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=1)
    first = store.save(1000, write_ok)

    def disk_is_full(folder: Path) -> NoReturn:
        (folder / "weights").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match=r"No space left.*MiB are free.*step_000001000 is"):
        store.save(2000, disk_is_full)
    assert store.all() == [first] and (first / "inner" / "buffer").exists()
    assert list(store.folder.iterdir()) == [first]


def test_nothing_is_deleted_before_the_new_one_is_in_place(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=1)
    first = store.save(1000, write_ok)

    def check(folder: Path) -> None:
        assert store.all() == [first]
        write_ok(folder)

    store.save(2000, check)
    assert names(store) == ["step_000002000"]


def test_hard_linked_files_outlive_the_checkpoint_they_came_from(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=1)
    first = store.save(1000, write_ok)
    second = store.save(2000, lambda folder: os.link(first / "weights", folder / "weights"))
    assert not first.exists() and (second / "weights").read_text().startswith(".tmp-000001000")


def test_a_checkpoint_that_is_there_is_left_alone(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=1)
    first = store.save(1000, write_ok)
    assert store.save(1000, pytest.fail) == first


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="step_000001000"):
        CheckpointStore.step_of(tmp_path / "weights")


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from e2hil_rllib.run.checkpoints import CheckpointStore

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def write(folder):
    (folder / "weights").write_text("new")
    if sys.argv[2] == "writing":
        die()

store = CheckpointStore(Path(sys.argv[1]), keep=1)
remove = shutil.rmtree
if sys.argv[2] == "deleting":
    def first_file_only(path, ignore_errors=False):
        if Path(path).exists():
            os.unlink(Path(path) / "weights")
            die()
    shutil.rmtree = first_file_only
store.save(2000, write)
"""


@pytest.mark.parametrize(
    ("moment", "left"), [("writing", "step_000001000"), ("deleting", "step_000002000")]
)
def test_a_kill_leaves_a_whole_one(tmp_path: Path, moment: str, left: str) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=1)
    store.save(1000, write_ok)
    run = subprocess.run([sys.executable, "-c", KILLED, store.folder, moment], check=False)
    assert run.returncode == -signal.SIGKILL
    latest = store.latest()
    assert latest is not None and latest.name == left
    assert all((path / "weights").exists() for path in store.all())
    store.save(3000, write_ok)
    assert [path.name for path in store.folder.iterdir()] == ["step_000003000"]
