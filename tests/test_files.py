"""Files that are whole or absent, and what is said where they cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2hil_rllib.files import WriteError, is_temporary, swapped_in


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


def test_what_a_kill_leaves_is_known_by_its_name(tmp_path: Path) -> None:
    with swapped_in(tmp_path / "rows.csv") as temporary:
        temporary.touch()
        assert is_temporary(temporary) and str(os.getpid()) in temporary.name
    assert not is_temporary(tmp_path / "rows.csv")
