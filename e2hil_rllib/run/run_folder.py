"""The folder of a run: where its files are, and who may write them."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2hil_rllib.disk.files import is_temporary, swapped_in, writing
from e2hil_rllib.errors import UserError
from e2hil_rllib.run.checkpoints import CheckpointStore
from e2hil_rllib.settings.presets import DEFAULT, EARLIER_DEFAULT, PAPER
from e2hil_rllib.settings.run_settings import Settings, load_settings


class RunFolderError(UserError):
    """A run folder that cannot be used as asked; the message says what to do instead."""


class RunFolder:
    """Paths of a run, and its settings.

    Attributes:
        root: The folder itself.
        config: The settings, resolved.
        progress: One row of figures for each training iteration.
        evaluation: One row for each evaluated episode.
        tensorboard: The same figures as TensorBoard events.
        episodes: What happened in training, an episode a file.
        inbox: What has come from robots and is not among the episodes yet.
        demonstrations: What was recorded before training, an episode a file.
        selection: What the selection thought of samples, an iteration a file.
        crops: What each camera sees, and what of it the policy gets, a picture a camera.
        report: Figures and the page.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.config = self.root / "config.yaml"
        self.progress = self.root / "progress.csv"
        self.evaluation = self.root / "evaluation.csv"
        self.tensorboard = self.root / "tensorboard"
        self.episodes = self.root / "episodes"
        self.inbox = self.root / "inbox"
        self.demonstrations = self.root / "demonstrations"
        self.selection = self.root / "selection"
        self.crops = self.root / "crops"
        self.report = self.root / "report"

    def checkpoints(self, keep: int = 1) -> CheckpointStore:
        """The checkpoints, of which the newest `keep` stay when another is saved."""
        return CheckpointStore(self.root / "checkpoints", keep)

    def is_new(self) -> bool:
        """Whether nothing has been written yet, a lock and what a kill left of a file apart."""
        if not self.root.exists():
            return True
        return all(entry.name == ".lock" or is_temporary(entry) for entry in self.root.iterdir())

    def settings(self) -> Settings:
        """The settings the run was started with.

        Raises:
            RunFolderError: The folder has none, so that it is no run folder.
            SettingsError: They cannot be read.
        """
        if not self.config.exists():
            raise RunFolderError(
                f"{self.root} is not a run folder: it has no config.yaml. Name the folder that "
                "'e2hil train' wrote, e.g. runs/touch_cube."
            )
        # A run that was begun before there were presets has what the paper's says.
        settings = load_settings(self.config, preset=PAPER)
        if settings.preset == DEFAULT and not settings.is_spelled_out:
            return settings.spelled_out(EARLIER_DEFAULT)
        return settings

    def write_settings(self, settings: Settings) -> None:
        """Writes the settings; the old file stays until the new one is whole."""
        with swapped_in(self.config) as path:
            path.write_text(settings.spelled_out().to_yaml(), encoding="utf-8")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in this folder; makes it if there is none.

        The kernel drops the lock when its process ends, however it ends, so that none is left
        over after a crash.

        Raises:
            RunFolderError: Another process holds it.
        """
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("a+")
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise RunFolderError(
                    f"Another process (number {holder}) is training in {self.root}. Wait for it, "
                    "stop it, or name another folder with --run-dir."
                ) from error
            file.truncate(0)
            with writing(self.root / ".lock"):
                file.write(f"{os.getpid()}\n")
                file.flush()
            self._remove_leftovers()
            yield

    def clear(self) -> None:
        """Makes a run that never began new again: removes its settings, records and pictures."""
        for folder in (self.demonstrations, self.crops):
            shutil.rmtree(folder, ignore_errors=True)
        self.config.unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Removes the parts of files that a kill left; only for who holds the lock."""
        for folder in (self.root, self.episodes, self.selection, self.report):
            for path in folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)
