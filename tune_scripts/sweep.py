"""Runs the open trials of a comparison as one Ray Tune experiment."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import ray
from ray import tune
from rich.console import Console

from e2hil_rllib.commands.build import algorithm_config, check_settings, quiet_ray
from e2hil_rllib.files import writing
from e2hil_rllib.run_folder import RunFolder
from tune_scripts.code_version import UNKNOWN, code_version
from tune_scripts.demonstrations import folder_of, record_missing, with_demonstrations
from tune_scripts.plan import PlanError, Trial, check_begun, is_finished
from tune_scripts.results import read_results
from tune_scripts.sweep_progress import ERRORS, SweepProgress
from tune_scripts.trial import RESULTS, Assignment, TrialRun, versions_of

_OBJECT_STORE = 100 * 2**20  # trials exchange nothing [bytes]


@dataclass(frozen=True)
class Share:
    """What a trial takes of a machine."""

    cpus: float = 1
    gpus: float = 0


@dataclass(frozen=True)
class Ended:
    """How a sweep ended.

    Attributes:
        open: Trials that have no result.
        failed: Those of them that failed.
    """

    open: int
    failed: int

    @property
    def exit_status(self) -> int:
        """0: all have finished; 1: some failed; 130: somebody stopped the sweep."""
        return 1 if self.failed else 130 if self.open else 0


def run_sweep(
    trials: Sequence[Trial],
    out: Path,
    console: Console,
    share: Share = Share(),
    address: str | None = None,
    any_version: bool = False,
) -> Ended:
    """Runs the trials that have no result yet.

    Args:
        trials: Of the whole comparison.
        out: Its folder, absolute; on a cluster one that all machines see.
        console: Where progress is shown.
        share: What a trial takes of a machine.
        address: Of a Ray cluster; None starts Ray here, unless it is running in this process.
        any_version: Count results of other code as finished, and go on with runs that it began.

    Raises:
        UserError: The comparison cannot be run as asked; nothing has been started.
    """
    with _only_one(out):
        code = code_version()
        _say_version(code, console)
        unfinished = _open_trials(trials, out, code, any_version)
        finished = len(trials) - len(unfinished)
        if finished:
            console.print(f"{finished} of {len(trials)} trials are in {out / RESULTS} already.")
        if not unfinished:
            return Ended(0, 0)
        _check_begun(unfinished, out, code, any_version)
        _check(unfinished, out)
        record_missing(unfinished, out, console)
        with _ray(address, share), SweepProgress(console, len(trials), finished) as progress:
            _tune([_assignment(trial, out, code) for trial in unfinished], out, share, progress)
        ended = Ended(len(_open_trials(trials, out, code, True)), len(progress.failed))
        _say_end(ended, progress, out, console)
        return ended


def _open_trials(trials: Sequence[Trial], out: Path, code: str, any_version: bool) -> list[Trial]:
    rows = read_results(out / RESULTS)
    return [trial for trial in trials if not is_finished(trial, rows, code, any_version)]


def _check_begun(trials: Sequence[Trial], out: Path, code: str, any_version: bool) -> None:
    for trial in trials:
        begun_by = [] if any_version else versions_of(RunFolder(out / trial.run_dir))
        check_begun(trial, out, begun_by, code)


def _check(trials: Sequence[Trial], out: Path) -> None:
    """Finds what cannot be trained before anything is recorded or started."""
    tasks: set[str] = set()
    methods: set[tuple[str, str]] = set()
    for trial in trials:
        run = RunFolder(out / trial.run_dir)
        if trial.task not in tasks:
            check_settings(trial.settings, run)  # makes environments
        elif (trial.task, trial.method) not in methods:
            algorithm_config(trial.settings, run)
        tasks.add(trial.task)
        methods.add((trial.task, trial.method))


def _assignment(trial: Trial, out: Path, code: str) -> Assignment:
    settings = with_demonstrations(trial.settings, folder_of(trial, out))
    return Assignment(
        task=trial.task,
        method=trial.method,
        seed=trial.seed,
        settings=settings.resolved(),
        config_hash=trial.config_hash,
        code_version=code,
        out=str(out),
        run_dir=trial.run_dir,
    )


def _tune(
    assignments: Sequence[Assignment], out: Path, share: Share, progress: SweepProgress
) -> None:
    """One experiment; its own state is not needed to go on, the run folders hold all."""
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the old one can be silent
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_FORCE_TRIAL_CLEANUP_S"] = "5"  # at Ctrl-C; a checkpoint is there anyway
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors are shown by `progress`
    trainable = tune.with_resources(TrialRun, {"cpu": share.cpus, "gpu": share.gpus})
    tune.Tuner(
        trainable,
        param_space={"assignment": tune.grid_search([asdict(a) for a in assignments])},
        tune_config=tune.TuneConfig(
            trial_name_creator=_name_of, trial_dirname_creator=_name_of, reuse_actors=False
        ),
        run_config=tune.RunConfig(
            name=time.strftime("started_%Y%m%d_%H%M%S"),
            storage_path=str(out / "tune"),
            failure_config=tune.FailureConfig(max_failures=0),
            callbacks=[progress],
            verbose=0,
        ),
    ).fit()


def _name_of(trial: tune.experiment.Trial) -> str:
    assignment = trial.config["assignment"]
    return f"{assignment['task']}-{assignment['method']}-{assignment['seed']}"


@contextmanager
def _ray(address: str | None, share: Share) -> Iterator[None]:
    """Ray for the length of a sweep."""
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
def _only_one(out: Path) -> Iterator[None]:
    """Keeps a second comparison out of the folder; the kernel drops the lock at any end."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PlanError(
                f"Another comparison is running in {out}. Wait for it, or name another folder "
                "with --out."
            ) from error
        yield


def _say_version(code: str, console: Console) -> None:
    if code == UNKNOWN:
        console.print("There is no git repository: results cannot say which code made them.")
    elif code.endswith("-dirty"):
        console.print(f"The code has changes that are not committed; results will say {code}.")


def _say_end(ended: Ended, progress: SweepProgress, out: Path, console: Console) -> None:
    for name, error in progress.failed:
        console.print(
            f"failed: {name}: {error}", style="bold red", markup=False, highlight=False,
            soft_wrap=True,
        )  # fmt: skip
    if progress.failed:
        console.print(f"{len(progress.failed)} trials failed, see {out / ERRORS}.", soft_wrap=True)
    if ended.open:
        console.print(f"{ended.open} trials are open; the same command goes on with them.")
    console.print(f"Results: {out / RESULTS}", highlight=False, soft_wrap=True)
