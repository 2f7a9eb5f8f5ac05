"""Files that are whole or absent, and what is said where they cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from e2hil_rllib.disk.files import WriteError, is_temporary, remove_file, save_figure, swapped_in

ROOT = Path(__file__).parents[2]
# The only one that need not: its whole folder is written beside, and says so where it cannot be.
SAVES_FIGURES = {"e2hil_rllib/disk/files.py", "e2hil_rllib/classifier/testing.py"}


def test_a_full_disk_leaves_the_old_file_and_is_told_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with (
        pytest.raises(WriteError, match=r"rows\.csv could not be written: No space.*MiB are free"),
        swapped_in(path) as temporary,
    ):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"rows\.csv could not be written: Not a directory"):  # noqa: SIM117
        with swapped_in(tmp_path / "file" / "inner" / "rows.csv"):
            pytest.fail("there is nowhere to write")


def test_a_figure_is_a_picture_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "new" / "curve"
    save_figure(Figure(), path)
    assert Image.open(path).format == "PNG" and list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "curve.png"
    path.write_bytes(b"old")

    def fill_the_disk(figure: Figure, target: Path, **options: str) -> None:
        Path(target).write_bytes(b"half")
        assert path.read_bytes() == b"old"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fill_the_disk)
    with pytest.raises(WriteError, match=r"curve\.png could not be written: No space.*are free"):
        save_figure(Figure(), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_no_figure_is_written_in_place() -> None:
    for package in ("e2hil_rllib", "envs", "tune_scripts"):
        for path in (ROOT / package).rglob("*.py"):
            if path.relative_to(ROOT).as_posix() not in SAVES_FIGURES:
                assert ".savefig(" not in path.read_text(), f"{path}: use save_figure"


def test_what_a_kill_leaves_is_known_by_its_name(tmp_path: Path) -> None:
    with swapped_in(tmp_path / "rows.csv") as temporary:
        temporary.touch()
        assert is_temporary(temporary) and str(os.getpid()) in temporary.name
    assert not is_temporary(tmp_path / "rows.csv")


def test_a_file_is_removed_if_there_is_one_and_what_cannot_be_is_named(tmp_path):
    path = tmp_path / "old.png"
    path.write_text("x")
    remove_file(path)
    remove_file(path)
    assert not path.exists()
    path.mkdir()
    with pytest.raises(WriteError, match=r"old\.png could not be written"):
        remove_file(path)
