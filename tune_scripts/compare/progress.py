"""Progress of a comparison: a line for each ended trial, and a live count."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.tune.experiment import Trial as TuneTrial
from rich.console import Console
from rich.status import Status

from e2hil_rllib.errors import UserError
from e2hil_rllib.report.comparison.trials import ERRORS, RESULTS
from tune_scripts.compare.plan import trial_name
from tune_scripts.compare.results import ErrorRow, ResultRow, append_row, read_results
from tune_scripts.compare.trial import Assignment

_LONGEST_ERROR = 600


class SweepProgress(tune.Callback):
    """Counter of started and ended trials, with their errors.

    Args:
        console: Console for the progress.
        total: Number of trials of the comparison.
        finished: Number of trials that finished in earlier processes.

    Attributes:
        failed: Name and error of each trial that failed.
    """

    def __init__(self, console: Console, total: int, finished: int) -> None:
        self._console = console
        self._total = total
        self._finished = finished
        self._running: set[str] = set()
        self.failed: list[tuple[str, str]] = []
        self._status = Status(self._count(), console=console)

    def __enter__(self) -> SweepProgress:
        self._status.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._status.stop()

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Return an empty callback for Tune's own resuming, which is not used."""
        return tune.Callback, ()

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Count a trial that starts."""
        self._running.add(trial.trial_id)
        self._status.update(self._count())

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Show the result of a finished trial."""
        self._finished += 1
        self._say(f"{_name(trial)}: {in_words(trial.last_result['row'])}")
        self._note(lambda: self._check_row(trial))
        self._ended(trial)

    def _check_row(self, trial: TuneTrial) -> None:
        """Add the row of a trial whose machine does not share the comparison's folder."""
        assignment = Assignment(**trial.config["assignment"])
        row, path = ResultRow(**trial.last_result["row"]), Path(assignment.out) / RESULTS
        known = [(r["run_dir"], r["config_hash"], r["code_version"]) for r in read_results(path)]
        if (row.run_dir, row.config_hash, row.code_version) not in known:
            append_row(path, row)
            self._console.print(
                f"{path.parent / row.run_dir} is on the trial's machine: --out is no folder that "
                "all machines see. Its row is here; copy its folder for figures of its training.",
                highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Show a trial's error, and add it to the table."""
        assignment = Assignment(**trial.config["assignment"])
        error = error_of(trial)
        self.failed.append((_name(trial), error))
        row = ErrorRow(
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            task=assignment.task,
            method=assignment.method,
            seed=assignment.seed,
            error=error,
            config_hash=assignment.config_hash,
            code_version=assignment.code_version,
            run_dir=assignment.run_dir,
        )
        self._note(lambda: append_row(Path(assignment.out) / ERRORS, row))
        self._say(f"{_name(trial)} failed: {error}")
        self._ended(trial)

    def _note(self, append: Callable[[], object]) -> None:
        """Write to a table; a failure is shown and does not stop the other trials."""
        try:
            append()
        except (UserError, OSError) as error:
            self._console.print(str(error), style="bold red", markup=False, soft_wrap=True)

    def _ended(self, trial: TuneTrial) -> None:
        self._running.discard(trial.trial_id)
        self._status.update(self._count())

    def _say(self, text: str) -> None:
        ended = self._finished + len(self.failed)
        self._console.print(
            f"[{ended}/{self._total}] {text}", highlight=False, markup=False, soft_wrap=True
        )

    def _count(self) -> str:
        return (
            f"{self._finished} of {self._total} trials finished, {len(self._running)} running, "
            f"{len(self.failed)} failed"
        )


def in_words(row: dict[str, Any]) -> str:
    """Return a finished trial in a line."""
    success = ""
    if row["success_rate"] is not None:
        low, high = 100 * row["success_low"], 100 * row["success_high"]
        success = (
            f"{100 * row['success_rate']:.0f} % ({low:.0f} to {high:.0f} %) of "
            f"{row['evaluation_episodes']} episodes, "
        )
    to_goal = row["human_steps_to_90"]
    reached = "never at 90 % alone" if to_goal is None else f"{to_goal} of them until 90 % alone"
    lasting = row["human_steps_to_lasting_90"]
    held = "" if lasting is None else f", {lasting} until it held"
    taken = "" if row["takeovers"] is None else f" in {row['takeovers']} takeovers"
    return (
        f"{success}{row['human_steps']} human steps of {row['steps']}{taken}, {reached}{held}, "
        f"{row['wall_seconds']:.0f} s"
    )


def error_of(trial: TuneTrial) -> str:
    """Return the error of a trial in one line."""
    # Tune's own reader expects the file at a place that it is moved to later.
    file = trial.pickled_error_file
    if file is None:
        text = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
        return _shortened(text) or "no message"
    error = cloudpickle.loads(Path(file).read_bytes())
    cause = getattr(error, "cause", None) or error
    text = _shortened(str(cause))
    return text if isinstance(cause, UserError) else f"{type(cause).__name__}: {text}"


def _shortened(text: str) -> str:
    """Return a text in one line; only the end of a long one, where a traceback has the error."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_ERROR else f"... {line[-_LONGEST_ERROR:]}"


def _name(trial: TuneTrial) -> str:
    assignment = Assignment(**trial.config["assignment"])
    return trial_name(assignment.task, assignment.method, assignment.seed, assignment.person)
