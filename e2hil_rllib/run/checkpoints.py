"""Checkpoints on disk: at any moment, the newest one is whole."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from e2hil_rllib.disk.files import free_space, sync_file, sync_tree
from e2hil_rllib.errors import UserError

_NAME = re.compile(r"step_(\d+)")


class CheckpointError(UserError):
    """A checkpoint that could not be written or found; the message says what to do."""


class CheckpointStore:
    """A folder of checkpoints, named by the step they were taken at.

    A checkpoint is written under a name that starts with a dot, synced, and then renamed; one
    that goes is renamed to such a name before it is deleted. So whatever bears a checkpoint's
    name is whole, and a kill at any moment leaves at worst a hidden folder, which the next save
    removes. Files inside are never changed, since checkpoints may share them by hard links.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def all(self) -> list[Path]:
        """Every whole checkpoint, oldest first."""
        if not self.folder.is_dir():
            return []
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.iterdir())
        return [path for _, path in sorted((int(name[1]), path) for name, path in found if name)]

    def latest(self) -> Path | None:
        """The newest checkpoint, or None."""
        return next(reversed(self.all()), None)

    @staticmethod
    def step_of(checkpoint: Path) -> int:
        """The step in the name of a checkpoint.

        Raises:
            CheckpointError: The folder is not named like one.
        """
        name = _NAME.fullmatch(checkpoint.name)
        if name is None:
            raise CheckpointError(
                f"{checkpoint} is not a checkpoint: expected a folder such as step_000001000."
            )
        return int(name[1])

    def save(self, step: int, write: Callable[[Path], object]) -> Path:
        """Writes a checkpoint, and only then deletes those beyond the newest `keep`.

        Args:
            step: Steps of the environment so far.
            write: Writes the checkpoint into the folder that it is given.

        Returns:
            The checkpoint's folder. One that is there already is left as it is.

        Raises:
            CheckpointError: The disk is full or cannot be written to; what was there stays.
        """
        target = self.folder / f"step_{step:09d}"
        if target.exists():
            return target
        temporary = self.folder / f".tmp-{step:09d}-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            temporary.mkdir()
            write(temporary)
            sync_tree(temporary)
            temporary.rename(target)
            sync_file(self.folder)
        except OSError as error:
            raise CheckpointError(self._explain(error, step)) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for old in self.all()[: -self.keep]:
            hidden = old.with_name(f".old-{old.name}")
            old.rename(hidden)
            shutil.rmtree(hidden)
        return target

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob(".*"):
            if path.name.startswith((".tmp-", ".old-")):
                shutil.rmtree(path)

    def _explain(self, error: OSError, step: int) -> str:
        latest = self.latest()
        kept = f"{latest} is untouched" if latest else "There is no earlier one"
        return (
            f"The checkpoint of step {step} could not be written to {self.folder}: {error}. "
            f"{free_space(self.folder)}. {kept}. Make room, then resume with --resume."
        )
