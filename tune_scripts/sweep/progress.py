"""Progress of a sweep: a line and a row for each ended trial."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from rich.console import Console

from e2hil_rllib.report.comparison.trials import ERRORS
from e2hil_rllib.run.run_folder import RunFolder
from tune_scripts.compare.progress import SweepProgress, error_of
from tune_scripts.compare.results import append_row
from tune_scripts.compare.trial import versions_of
from tune_scripts.sweep.results import EndedTrial, append_trial
from tune_scripts.sweep.search import EqualCostASHA
from tune_scripts.sweep.space import SEARCHED, Values
from tune_scripts.sweep.trial import Standing, run_dir


@dataclasses.dataclass(frozen=True)
class FailedTrial:
    """Failed trial: the columns of ``errors.csv``.

    Attributes:
        time: Time of the failure, ISO 8601 in UTC.
        number: Number of the trial.
        error: Error message.
        values: Values of the searched settings in words.
        code_version: Version of the code that worked on it.
        run_dir: Run folder, relative to the sweep's.
    """

    time: str
    number: int
    error: str
    values: str
    code_version: str
    run_dir: str


class SelectionProgress(SweepProgress):
    """Counter of a sweep's trials that writes a row for each ended one.

    Args:
        console: Console for the progress.
        total: Number of trials of the sweep.
        finished: Number of trials that ended in earlier processes.
        out: Folder of the sweep.
        scheduler: Scheduler that prunes.
    """

    def __init__(
        self, console: Console, total: int, finished: int, out: Path, scheduler: EqualCostASHA
    ) -> None:
        super().__init__(console, total, finished)
        self._out = out
        self._scheduler = scheduler

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Add the row of an ended trial, unless it was only interrupted."""
        fields = [field.name for field in dataclasses.fields(Standing)]
        result = trial.last_result
        if trial.trial_id in self._scheduler.pruned or result.get("ended"):
            standing = Standing(**{name: result[name] for name in fields})
            number, values = trial.config["number"], trial.config["values"]
            ended = ended_trial(self._out, number, values, standing)
            self._finished += 1
            self._say(in_words(ended))
            self._note(lambda: append_trial(self._out, ended))
        self._ended(trial)

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Show a trial's error, and add it to the table."""
        number, error = trial.config["number"], error_of(trial)
        self.failed.append((f"trial {number}", error))
        row = FailedTrial(
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            number=number,
            error=error,
            values=values_in_words(trial.config["values"]),
            code_version=versions_in_words(self._out, number),
            run_dir=run_dir(number),
        )
        self._note(lambda: append_row(self._out / ERRORS, row))
        self._say(f"trial {number} failed: {error}")
        self._ended(trial)


def ended_trial(out: Path, number: int, values: Values, standing: Standing) -> EndedTrial:
    """Return the row of a trial."""
    versions = versions_in_words(out, number)
    return EndedTrial.of(number, values, standing, versions, run_dir(number))


def versions_in_words(out: Path, number: int) -> str:
    """Return the versions of the code that have worked on a trial."""
    return "+".join(versions_of(RunFolder(out / run_dir(number))))


def values_in_words(values: Values) -> str:
    """Return the searched values in a line."""
    return ", ".join(f"{searched.name} {values[searched.key]:.3g}" for searched in SEARCHED)


def in_words(trial: EndedTrial) -> str:
    """Return an ended trial in a line."""
    return (
        f"trial {trial.number} ({values_in_words(trial.values)}): objective "
        f"{trial.objective:.3f}, last success {100 * trial.success_rate:.0f} %, "
        f"{trial.human_steps} human steps of {trial.steps}; {trial.ended}"
    )
