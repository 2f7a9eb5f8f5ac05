"""What all experiments of Ray Tune share: how Tune runs, their folder's lock, their end."""

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
    """How an experiment ended.

    Attributes:
        open: Trials that have no result.
        failed: Those of them that failed.
    """

    open: int
    failed: int

    @property
    def exit_status(self) -> int:
        """0: all have finished; 1: some failed; 130: somebody stopped it."""
        return 1 if self.failed else 130 if self.open else 0


def quiet_tune() -> None:
    """Lets Tune print nothing and write little; before a `tune.Tuner` is made."""
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the old one can be silent
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_FORCE_TRIAL_CLEANUP_S"] = "5"  # at Ctrl-C; a checkpoint is there anyway
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors are shown by the callback


def run_config(out: Path, progress: tune.Callback) -> tune.RunConfig:
    """How Tune runs an experiment: a trial that fails is not tried again and stops no other.

    Args:
        out: Folder of the experiment; what Tune itself writes goes below it.
        progress: What shows how it goes.
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
    """Keeps a second experiment out of the folder; the kernel drops the lock at any end.

    Raises:
        PlanError: There is one.
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
    """Says what results cannot be traced back to."""
    if code == UNKNOWN:
        console.print("There is no git repository: results cannot say which code made them.")
    elif code.endswith("-dirty"):
        console.print(f"The code has changes that are not committed; results will say {code}.")


def say_end(
    ended: Ended, failed: Sequence[tuple[str, str]], out: Path, results: str, console: Console
) -> None:
    """Says which trials failed, how many are open, and where the results are.

    Args:
        ended: How the experiment ended.
        failed: Name and error of each trial that failed.
        out: Folder of the experiment.
        results: Name of its table.
        console: Where to say it.
    """
    for name, error in failed:
        console.print(
            f"failed: {name}: {error}", style="bold red", markup=False, highlight=False,
            soft_wrap=True,
        )  # fmt: skip
    if failed:
        console.print(f"{len(failed)} trials failed, see {out / ERRORS}.", soft_wrap=True)
    if ended.open:
        console.print(f"{ended.open} trials are open; the same command goes on with them.")
    console.print(f"Results: {out / results}", highlight=False, soft_wrap=True)
