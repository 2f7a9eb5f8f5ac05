"""A trial in a process of its own: trained as `e2hil train` does, and measured."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console

from e2hil_rllib.disk.files import swapped_in
from e2hil_rllib.errors import UserError
from e2hil_rllib.report import write_report
from e2hil_rllib.report.comparison.trials import RESULTS
from e2hil_rllib.run.run_folder import RunFolder, RunFolderError
from e2hil_rllib.settings.run_settings import Settings
from tune_scripts.code_version import UNKNOWN, code_version
from tune_scripts.compare.measures import measure
from tune_scripts.compare.results import ResultRow, append_row

_LOCK_PATIENCE = 60.0  # for the process of a killed comparison to end [s]


class TrialStoppedError(UserError):
    """Somebody asked the trial's process to stop; it can be gone on with."""


@dataclasses.dataclass(frozen=True)
class Assignment:
    """What a trial's process has to know, as plain values.

    Attributes:
        task: Name of the settings file.
        method: The method.
        seed: The seed.
        settings: `Settings.resolved()` of the run.
        config_hash: Of the trial.
        code_version: Of the code, where the process cannot find it out itself.
        out: Folder of the comparison.
        run_dir: Run folder, relative to it.
        person: Who watches; "" is the person of the settings file.
    """

    task: str
    method: str
    seed: int
    settings: dict[str, Any]
    config_hash: str
    code_version: str
    out: str
    run_dir: str
    person: str = ""

    @property
    def run(self) -> RunFolder:
        """The run folder."""
        return RunFolder(Path(self.out) / self.run_dir)


class TrialRun(tune.Trainable):
    """Ray Tune's view of a trial: one step, which is the whole run.

    It is a class, and no function, since those run in a thread, where training could not be asked
    to stop. What a trial needs to go on lies in its run folder, so that Tune keeps nothing.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Takes the assignment."""
        self._assignment = Assignment(**config["assignment"])

    def step(self) -> dict[str, Any]:
        """Runs the trial to its end."""
        row = run_trial(self._assignment)
        return {"done": True, "row": dataclasses.asdict(row)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: Tune saves what has ended."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing."""


def run_trial(assignment: Assignment) -> ResultRow:
    """Trains, or goes on with training, and appends the result to the comparison's table.

    Raises:
        UserError: Training is impossible or was stopped; the message says why.
    """
    run = assignment.run
    settings = Settings.model_validate(assignment.settings)
    versions = train_logged(settings, run, assignment.code_version)
    row = ResultRow(
        task=assignment.task,
        method=assignment.method,
        seed=assignment.seed,
        person=assignment.person,
        config_hash=assignment.config_hash,
        code_version="+".join(versions),
        run_dir=assignment.run_dir,
        **dataclasses.asdict(measure(run)),
    )
    append_row(Path(assignment.out) / RESULTS, row)
    write_report(run)  # after the row, which it could cost
    return row


def train_logged(settings: Settings, run: RunFolder, fallback: str) -> list[str]:
    """Trains, or goes on with training, without a report; what it prints goes to a log.

    Args:
        settings: What to train.
        run: Where everything goes.
        fallback: Version of the code, where this process cannot find it out itself.

    Returns:
        The versions of the code that have worked on the run.

    Raises:
        UserError: Training is impossible or was stopped; the message says why.
    """
    from e2hil_rllib.commands.train import train

    _wait_until_free(run)
    version = code_version()
    versions = note_version(run, fallback if version == UNKNOWN else version)
    with _beside(run, "log").open("a", encoding="utf-8") as log:
        console = Console(file=log, width=120)
        if not train(settings, run, True, console, report=False):
            raise TrialStoppedError(
                f"{run.root} was asked to stop. The same command goes on with it."
            )
    return versions


def versions_of(run: RunFolder) -> list[str]:
    """The versions of the code that have worked on a run, in their order; none if it is new."""
    path = _beside(run, "json")
    if not path.exists():
        return []
    versions: list[str] = json.loads(path.read_text(encoding="utf-8"))["code_versions"]
    return versions


def note_version(run: RunFolder, version: str) -> list[str]:
    """Notes that a version of the code works on a run; returns all that have."""
    # A new run is begun by this version alone, whatever lay here before.
    versions = list(dict.fromkeys([*([] if run.is_new() else versions_of(run)), version]))
    with swapped_in(_beside(run, "json")) as temporary:
        temporary.write_text(json.dumps({"code_versions": versions}) + "\n", encoding="utf-8")
    return versions


def _beside(run: RunFolder, kind: str) -> Path:
    """A file beside a run folder, in which there are only a run's own files."""
    return run.root.with_name(f"{run.root.name}.{kind}")


def _wait_until_free(run: RunFolder) -> None:
    """The processes of a comparison that was killed end a little after it."""
    end = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            with run.locked():
                return
        except RunFolderError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)
