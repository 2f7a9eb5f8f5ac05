"""What a sweep over the selection shows and writes down of each trial that ends."""

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
    """A trial that failed: the columns of `errors.csv`.

    Attributes:
        time: When, ISO 8601 in UTC.
        number: Of the trial.
        error: Why.
        values: Of the searched settings, as they are shown.
        code_version: Of the code that worked on it.
        run_dir: Its run folder, relative to the sweep's.
    """

    time: str
    number: int
    error: str
    values: str
    code_version: str
    run_dir: str


class SelectionProgress(SweepProgress):
    """Writes the row of each trial as it ends, and counts.

    Args:
        console: Where to show it.
        total: Trials of the sweep.
        finished: Those that had ended before.
        out: Folder of the sweep.
        scheduler: Who prunes.
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
        """Writes down what a trial has come to, unless it only was interrupted."""
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
        """Shows a trial's error, and writes it down."""
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
    """The row of a trial."""
    versions = versions_in_words(out, number)
    return EndedTrial.of(number, values, standing, versions, run_dir(number))


def versions_in_words(out: Path, number: int) -> str:
    """The versions of the code that have worked on a trial."""
    return "+".join(versions_of(RunFolder(out / run_dir(number))))


def values_in_words(values: Values) -> str:
    """The searched values in a line."""
    return ", ".join(f"{searched.name} {values[searched.key]:.3g}" for searched in SEARCHED)


def in_words(trial: EndedTrial) -> str:
    """A trial that has ended in a line."""
    return (
        f"trial {trial.number} ({values_in_words(trial.values)}): objective "
        f"{trial.objective:.3f}, last success {100 * trial.success_rate:.0f} %, "
        f"{trial.human_steps} human steps of {trial.steps}; {trial.ended}"
    )
