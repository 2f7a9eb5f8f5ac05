"""Folders of virtual ports, removed with the process that serves them.

A killed process leaves its folder behind, with a link to a pseudo-terminal whose number the next
terminal gets: a program that opened that link would write into it. So each new folder removes dead
ones.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

_PREFIX = "virtual-servos-"
_LOCK = "lock"
_YOUNG = 10.0  # age at which the folder of a living process has its lock [s]


class PortFolder:
    """Temporary folder whose lock shows that this process lives.

    Attributes:
        path: Path of the folder.
    """

    def __init__(self) -> None:
        """Make the folder, and remove those of processes that were killed."""
        remove_dead()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock: int | None = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the folder; harmless the second time."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_dead() -> None:
    """Remove the folders of this user whose processes are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Another process may remove it at the same time, or it may be somebody else's.
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _YOUNG and not _alive(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(folder: Path) -> bool:
    """Return whether a process holds the lock of a folder."""
    lock = os.open(folder / _LOCK, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
