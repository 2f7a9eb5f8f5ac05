"""Demonstrations of a comparison: one recording for all methods of a task, person and seed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from e2hil_rllib.commands.record import record_demonstrations
from e2hil_rllib.disk.files import sync_file, sync_tree
from e2hil_rllib.settings.run_settings import Settings
from tune_scripts.compare.methods import with_settings
from tune_scripts.compare.plan import PlanError, Trial

_ORIGIN = "recorded_with.json"


def with_demonstrations(settings: Settings, folder: Path) -> Settings:
    """Return settings that read recorded demonstrations, in place of recording them.

    Args:
        settings: Settings of a run; those without ``demonstrations.record`` are returned as is.
        folder: Folder of the recording.
    """
    if settings.demonstrations is None or settings.demonstrations.record is None:
        return settings
    return with_settings(settings, f"demonstrations={json.dumps({'path': str(folder)})}")


def folder_of(trial: Trial, out: Path) -> Path:
    """Return the folder of the demonstrations of a trial's task, person and seed."""
    return out / "demonstrations" / trial.task / trial.person / f"seed_{trial.seed}"


def record_missing(trials: Iterable[Trial], out: Path, console: Console) -> None:
    """Record missing demonstrations, once for each task, person and seed.

    Args:
        trials: Pending trials.
        out: Folder of the comparison.
        console: Console for the progress.

    Raises:
        PlanError: Existing ones were recorded with other settings.
        RecordingError: The environment has no simulated person to demonstrate.
    """
    recorded: set[Path] = set()
    for trial in trials:
        wanted, folder = trial.settings.demonstrations, folder_of(trial, out)
        if wanted is None or wanted.record is None or folder in recorded:
            continue
        recorded.add(folder)
        if not folder.exists():
            who = f", {trial.person}" if trial.person else ""
            console.print(f"Recording demonstrations: {trial.task}{who}, seed {trial.seed}")
            _record(trial.settings, folder, wanted.record)
        elif (folder / _ORIGIN).read_text(encoding="utf-8") != _origin(trial.settings):
            raise PlanError(
                f"{folder} was recorded with other settings of the task. Name another folder with "
                "--out, or remove this one."
            )


def _record(settings: Settings, folder: Path, episodes: int) -> None:
    """Record demonstrations; the folder is whole or missing."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    record_demonstrations(settings, temporary, episodes)
    (temporary / _ORIGIN).write_text(_origin(settings), encoding="utf-8")
    sync_tree(temporary)
    temporary.rename(folder)
    sync_file(folder.parent)


def _origin(settings: Settings) -> str:
    """Return the settings that determine a recording, as JSON."""
    sections = {"task", "env", "seed", "demonstrations", "success_classifier"}
    return json.dumps(settings.model_dump(include=sections), sort_keys=True, indent=1) + "\n"
