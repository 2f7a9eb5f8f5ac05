"""Folders of virtual ports: those of killed processes are removed, others are not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envs.virtual.virtual_folder import PortFolder, remove_dead

LONG_AGO = 3600.0  # [s]
SERVES = """
import sys, time
from envs.virtual.virtual_folder import PortFolder
print(PortFolder().path, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def aged(folder: Path) -> Path:
    then = time.time() - LONG_AGO
    os.utime(folder, (then, then))
    return folder


def test_a_folder_lives_until_it_is_removed() -> None:
    folder = PortFolder()
    remove_dead()
    assert aged(folder.path).is_dir()
    remove_dead()
    assert folder.path.is_dir(), "this process lives"
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_the_folder_of_a_killed_process_is_removed() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVES], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        left = Path(one.stdout.readline().strip())
        (left / "port").symlink_to("/dev/null")
        aged(left)
        remove_dead()
        assert left.is_dir(), "its process lives"
        one.kill()
        one.wait()
    assert left.is_dir()
    new = PortFolder()
    assert not left.exists() and new.path.is_dir()
    new.remove()


def test_young_folders_and_other_folders_are_left_alone(tmp_path: Path) -> None:
    young, foreign = tmp_path / "virtual-servos-new", tmp_path / "virtual-servos-without-lock"
    young.mkdir()
    (young / "lock").touch()
    foreign.mkdir()
    aged(foreign)
    remove_dead()
    assert young.is_dir() and foreign.is_dir()
