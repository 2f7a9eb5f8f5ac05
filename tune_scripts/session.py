"""What all experiments of Ray Tune share: Ray itself, their folder's lock, what they say."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import tune
from rich.console import Console

from e2hil_rllib.commands.build import quiet_ray
from e2hil_rllib.files import writing
from tune_scripts.code_version import UNKNOWN
from tune_scripts.plan import PlanError

ERRORS = "errors.csv"
_OBJECT_STORE = 100 * 2**20  # trials exchange nothing [bytes]


@dataclass(frozen=True)
class Share:
    """What a trial takes of a machine."""

    cpus: float = 1
    gpus: float = 0


ONE_CPU = Share()


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
def ray_running(address: str | None, share: Share) -> Iterator[None]:
    """Ray for the length of an experiment.

    Args:
        address: Of a Ray cluster; None starts Ray here, unless it is running in this process.
        share: What a trial takes of a machine.

    Raises:
        PlanError: No machine has such a share.
    """
    quiet_ray()
    started_here = not ray.is_initialized()
    if started_here:
        local = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
        ray.init(
            address=address or "local",
            log_to_driver=False,  # a trial writes its own log, errors come as exceptions
            logging_level=logging.ERROR,
            **({} if address else local),
        )
    try:
        for name, wanted in (("CPU", share.cpus), ("GPU", share.gpus)):
            there = ray.cluster_resources().get(name, 0)
            if wanted > there:
                raise PlanError(
                    f"--{name.lower()}s-per-trial is {wanted:g}, but Ray has {there:g}; a trial "
                    "would wait for ever. Give a smaller share, or a cluster by --address."
                )
        yield
    finally:
        if started_here:
            ray.shutdown()


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
