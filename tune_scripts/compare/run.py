"""Run of a comparison's pending trials as one Ray Tune experiment."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ray import tune
from rich.console import Console

from e2hil_rllib.report.comparison.trials import RESULTS
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.build import algorithm_config, check_settings
from e2hil_rllib.settings.environments import make_environment, tells_success
from tune_scripts.cluster import ONE_CPU, Share, ray_running
from tune_scripts.code_version import code_version
from tune_scripts.commands import note_command
from tune_scripts.compare.demonstrations import folder_of, record_missing, with_demonstrations
from tune_scripts.compare.plan import PlanError, Trial, check_begun, is_finished
from tune_scripts.compare.progress import SweepProgress
from tune_scripts.compare.results import read_results
from tune_scripts.compare.trial import Assignment, TrialRun, versions_of
from tune_scripts.session import (
    Ended,
    only_one,
    quiet_tune,
    run_config,
    say_end,
    say_version,
)


def run_sweep(
    trials: Sequence[Trial],
    out: Path,
    console: Console,
    share: Share = ONE_CPU,
    address: str | None = None,
    any_version: bool = False,
    typed: Sequence[str] = (),
) -> Ended:
    """Run the trials that have no result yet.

    Args:
        trials: Trials of the whole comparison.
        out: Folder of the comparison, absolute; on a cluster one that all machines see.
        console: Console for the progress.
        share: Share of a machine for each trial.
        address: Address of a Ray cluster; None starts Ray here, unless it runs in this process.
        any_version: Whether results of other code count as finished and its runs are resumed.
        typed: Arguments of the command, for ``commands.csv``; an empty sequence adds no row.

    Raises:
        UserError: The comparison cannot be run as asked; nothing has been started.
    """
    with only_one(out):
        code = code_version()
        say_version(code, console)
        unfinished = _open_trials(trials, out, code, any_version)
        finished = len(trials) - len(unfinished)
        if finished:
            console.print(f"{finished} of {len(trials)} trials are in {out / RESULTS} already.")
        if not unfinished:
            return Ended(0, 0)
        _check_begun(unfinished, out, code, any_version)
        _check(unfinished, out, here=address is None)
        if typed:
            note_command(out, "tune_scripts.compare", typed)
        record_missing(unfinished, out, console)
        with ray_running(address, share), SweepProgress(console, len(trials), finished) as progress:
            _tune([_assignment(trial, out, code) for trial in unfinished], out, share, progress)
        ended = Ended(len(_open_trials(trials, out, code, True)), len(progress.failed))
        say_end(ended, progress.failed, out, RESULTS, console)
        return ended


def _open_trials(trials: Sequence[Trial], out: Path, code: str, any_version: bool) -> list[Trial]:
    rows = read_results(out / RESULTS)
    return [trial for trial in trials if not is_finished(trial, rows, code, any_version)]


def _check_begun(trials: Sequence[Trial], out: Path, code: str, any_version: bool) -> None:
    for trial in trials:
        begun_by = [] if any_version else versions_of(RunFolder(out / trial.run_dir))
        check_begun(trial, out, begun_by, code)


def _check(trials: Sequence[Trial], out: Path, here: bool) -> None:
    """Refuse settings that cannot be trained, before anything is recorded or started."""
    tasks: set[tuple[str, str]] = set()  # with the person
    methods: set[tuple[str, str]] = set()
    for trial in trials:
        run = RunFolder(out / trial.run_dir)
        if (trial.task, trial.person) not in tasks:
            check_settings(trial.settings, run, here)  # makes environments
            _check_success(trial)
        elif (trial.task, trial.method) not in methods:
            algorithm_config(trial.settings, run)
        tasks.add((trial.task, trial.person))
        methods.add((trial.task, trial.method))


def _check_success(trial: Trial) -> None:
    settings = trial.settings
    env = make_environment(settings.task, dict(settings.env), settings.judge())
    with contextlib.closing(env):
        try:
            told = tells_success(env)
        except (TypeError, ValueError, RuntimeError, OSError) as error:
            raise PlanError(
                f"The environment of the task {trial.task} cannot be reset: {error}"
            ) from error
    if not told:
        raise PlanError(
            f"The environment of the task {trial.task} does not tell success ('succeed' in its "
            "info), by which methods are compared. Add it, or a success_classifier."
        )


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
        person=trial.person,
    )


def _tune(
    assignments: Sequence[Assignment], out: Path, share: Share, progress: SweepProgress
) -> None:
    """Run one experiment; resuming needs the run folders alone, not Tune's own state."""
    quiet_tune()
    trainable = tune.with_resources(TrialRun, {"cpu": share.cpus, "gpu": share.gpus})
    tune.Tuner(
        trainable,
        param_space={"assignment": tune.grid_search([asdict(a) for a in assignments])},
        tune_config=tune.TuneConfig(
            trial_name_creator=_name_of, trial_dirname_creator=_name_of, reuse_actors=False
        ),
        run_config=run_config(out, progress),
    ).fit()


def _name_of(trial: tune.experiment.Trial) -> str:
    assignment = trial.config["assignment"]
    parts = (assignment[name] for name in ("task", "method", "person", "seed"))
    return "-".join(str(part) for part in parts if part != "")
