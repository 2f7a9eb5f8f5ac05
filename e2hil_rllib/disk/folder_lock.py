"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
from pathlib import Path

from e2hil_rllib.disk.files import writing
from e2hil_rllib.errors import UserError


class FolderLock:
    """Keeps other processes out of a folder until it is closed or its process ends.

    The kernel drops the lock when the process ends, however it ends, so that none is left over
    after a crash. Nothing is written into the lock's file: a full disk must not keep those out who
    come to free it.
    """

    def __init__(self, folder: Path) -> None:
        """Takes the lock.

        Args:
            folder: An existing folder.

        Raises:
            UserError: Another process holds it, or another object of this one.
            WriteError: There can be no lock in this folder.
        """
        path = folder / ".lock"
        with writing(path):
            self._file = path.open("a")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._file.close()
                if isinstance(error, BlockingIOError):
                    raise UserError(
                        f"{folder} is in use by another process ('fuser {path}' tells which). "
                        "Stop that one, or name another folder."
                    ) from error
                raise

    def close(self) -> None:
        """Lets others in. Closing twice does nothing."""
        self._file.close()
