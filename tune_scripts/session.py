"""Session of a Ray Tune experiment: Tune's configuration, the folder's lock, the final report."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ray import tune
from rich.console import Console

from e2hil_rllib.disk.files import writing
from e2hil_rllib.report.comparison.trials import ERRORS
from tune_scripts.code_version import UNKNOWN
from tune_scripts.compare.plan import PlanError


@dataclass(frozen=True)
class Ended:
    """End of an experiment.

    Attributes:
        open: Number of trials without a result.
        failed: Number of those that failed.
    """

    open: int
    failed: int

    @property
    def exit_status(self) -> int:
        """0: all trials have finished; 1: some failed; 130: the experiment was stopped."""
        return 1 if self.failed else 130 if self.open else 0


def quiet_tune() -> None:
    """Make Tune print nothing and write little; to be called before a ``tune.Tuner`` is created."""
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the old output can be silent
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_FORCE_TRIAL_CLEANUP_S"] = "5"  # at Ctrl-C; the run has its checkpoint
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors are shown by the callback


def run_config(out: Path, progress: tune.Callback) -> tune.RunConfig:
    """Return Tune's configuration: a failed trial is not tried again and stops no other.

    Args:
        out: Folder of the experiment, with Tune's own files below it.
        progress: Callback that shows the progress.
    """
    return tune.RunConfig(
        name=time.strftime("started_%Y%m%d_%H%M%S"),
        storage_path=str(out / "tune"),
        failure_config=tune.FailureConfig(max_failures=0),
        callbacks=[progress],
        verbose=0,
    )


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Lock a folder against a second experiment; the kernel drops the lock at any end.

    Raises:
        PlanError: Another experiment is running in it.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PlanError(
                f"Another experiment is running in {out}. Wait for it, or name another folder "
                "with --out."
            ) from error
        yield


def say_version(code: str, console: Console) -> None:
    """Warn of code that results cannot be traced back to."""
    if code == UNKNOWN:
        console.print("There is no git repository: results cannot say which code made them.")
    elif code.endswith("-dirty"):
        console.print(f"The code has changes that are not committed; results will say {code}.")


def say_end(
    ended: Ended, failed: Sequence[tuple[str, str]], out: Path, results: str, console: Console
) -> None:
    """Print the failed trials, the number of open ones, and the path of the results.

    Args:
        ended: End of the experiment.
        failed: Name and error of each failed trial.
        out: Folder of the experiment.
        results: File name of its table.
        console: Console to print to.
    """
    for name, error in failed:
        console.print(
            f"failed: {name}: {error}", style="bold red", markup=False, highlight=False,
            soft_wrap=True,
        )  # fmt: skip
    if failed:
        console.print(f"{len(failed)} trials failed, see {out / ERRORS}.", soft_wrap=True)
    if ended.open:
        console.print(f"{ended.open} trials are open; the same command resumes them.")
    console.print(f"Results: {out / results}", highlight=False, soft_wrap=True)
