"""Files that are either whole or absent: written beside, synced, then renamed into place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_file(path.parent)
