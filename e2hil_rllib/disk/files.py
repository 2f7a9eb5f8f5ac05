"""Files that are either whole or absent: written beside, synced, then renamed into place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from e2hil_rllib.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class WriteError(UserError):
    """A file or folder that could not be written; the message names it and the free space."""


def free_space(path: Path) -> str:
    """How much is free where a path is or would be, in words."""
    there = next(p for p in (path.absolute(), *path.absolute().parents) if p.is_dir())
    return f"{shutil.disk_usage(there).free / 2**20:.0f} MiB are free in {there}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says which file it was, and how full the disk is, where writing it fails.

    Raises:
        WriteError: In place of an OSError of the block, which seldom names the file.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise WriteError(f"{path} could not be written: {reason}. {free_space(path)}.") from error


def remove_file(path: Path) -> None:
    """Removes a file, if there is one.

    Raises:
        WriteError: It cannot be removed.
    """
    with writing(path):
        path.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Flushes a file's or a folder's contents to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flushes every file below a folder, and the folders that name them, to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(parent) / name)
        sync_file(Path(parent))


@contextmanager
def swapped_in(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what is written there replaces `path` at the end.

    The file is synced before it is renamed and its folder after, so that a kill or a power cut
    leaves the old file or the new one, never a part. If the block raises, the old file stays and
    the temporary one is removed. Temporary names start with a dot.

    Args:
        path: The file to write or to replace. Its folder is made if there is none.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            sync_file(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_file(path.parent)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG; an older one stays until the new one is whole.

    Args:
        figure: Of matplotlib.
        path: The PNG to write or to replace. Its folder is made if there is none.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    with swapped_in(path) as temporary:
        # The temporary name does not end in .png, which matplotlib would go by.
        figure.savefig(temporary, format="png")


def is_temporary(path: Path) -> bool:
    """Whether a path is one that `swapped_in` gives, which only a kill leaves behind."""
    return path.name.startswith(".") and path.suffix == ".tmp"
