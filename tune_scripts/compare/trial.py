"""Trial of a comparison in a separate process: trained as by ``e2hil train``, and measured."""

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
    """A trial that was asked to stop and can be resumed."""


@dataclasses.dataclass(frozen=True)
class Assignment:
    """Assignment of a trial to its process, as plain values.

    Attributes:
        task: Name of the settings file.
        method: Name of the method.
        seed: Seed of all random draws.
        settings: ``Settings.resolved()`` of the run.
        config_hash: Hash of the trial's settings.
        code_version: Version of the code, where the process cannot find it out itself.
        out: Folder of the comparison.
        run_dir: Run folder, relative to the comparison's.
        person: Name of the person; "" is the person of the settings file.
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
        """Run folder."""
        return RunFolder(Path(self.out) / self.run_dir)


class TrialRun(tune.Trainable):
    """Ray Tune's view of a trial: one step, which is the whole run.

    It is a class because Tune runs functions in a thread, where training could not be asked to
    stop. The run folder holds all that resuming needs, so that Tune's checkpoints are empty.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Unpack the assignment."""
        self._assignment = Assignment(**config["assignment"])

    def step(self) -> dict[str, Any]:
        """Run the trial to its end."""
        row = run_trial(self._assignment)
        return {"done": True, "row": dataclasses.asdict(row)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Save nothing."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Load nothing."""


def run_trial(assignment: Assignment) -> ResultRow:
    """Train or resume a trial, and append the result to the comparison's table.

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
    write_report(run)  # after the row, which a failing report must not cost
    return row


def train_logged(settings: Settings, run: RunFolder, fallback: str) -> list[str]:
    """Train or resume a run without a report, with its output in a log.

    Args:
        settings: Settings of the run.
        run: Run folder.
        fallback: Version of the code, where this process cannot find it out itself.

    Returns:
        Versions of the code that have worked on the run.

    Raises:
        UserError: Training is impossible or was stopped; the message says why.
    """
    from e2hil_rllib.commands.train import train

    _wait_until_free(run)
    version = code_version()
    versions = note_version(run, fallback if version == UNKNOWN else version)
    with _next_to(run, "log").open("a", encoding="utf-8") as log:
        console = Console(file=log, width=120)
        if not train(settings, run, True, console, report=False):
            raise TrialStoppedError(f"{run.root} was asked to stop. The same command resumes it.")
    return versions


def versions_of(run: RunFolder) -> list[str]:
    """Return the versions of the code that have worked on a run, in order; none if it is new."""
    path = _next_to(run, "json")
    if not path.exists():
        return []
    versions: list[str] = json.loads(path.read_text(encoding="utf-8"))["code_versions"]
    return versions


def note_version(run: RunFolder, version: str) -> list[str]:
    """Note that a version of the code works on a run, and return all that have."""
    # A new run is begun by this version alone, whatever was here before.
    versions = list(dict.fromkeys([*([] if run.is_new() else versions_of(run)), version]))
    with swapped_in(_next_to(run, "json")) as temporary:
        temporary.write_text(json.dumps({"code_versions": versions}) + "\n", encoding="utf-8")
    return versions


def _next_to(run: RunFolder, kind: str) -> Path:
    """Return a file next to a run folder, which holds a run's own files only."""
    return run.root.with_name(f"{run.root.name}.{kind}")


def _wait_until_free(run: RunFolder) -> None:
    """Wait for the processes of a killed comparison, which end a little after it."""
    end = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            with run.locked():
                return
        except RunFolderError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)
