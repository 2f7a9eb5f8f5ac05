"""Run of a sweep's pending trials as one Ray Tune experiment."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console

from e2hil_rllib.disk.files import swapped_in
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.build import algorithm_config, check_settings
from e2hil_rllib.settings.run_settings import Settings
from tune_scripts.cluster import ONE_CPU, Share, ray_running
from tune_scripts.code_version import code_version
from tune_scripts.compare.demonstrations import folder_of, record_missing, with_demonstrations
from tune_scripts.compare.methods import apply_method, with_settings
from tune_scripts.compare.plan import PlanError, Trial, config_hash
from tune_scripts.session import (
    Ended,
    only_one,
    quiet_tune,
    run_config,
    say_end,
    say_version,
)
from tune_scripts.sweep.figure import draw_sweep
from tune_scripts.sweep.progress import SelectionProgress, ended_trial
from tune_scripts.sweep.results import TRIALS, append_trial, best_table, read_trials
from tune_scripts.sweep.search import EqualCostASHA, Points, PointSearch
from tune_scripts.sweep.space import SEARCHED, Values, paper_values
from tune_scripts.sweep.trial import (
    Goal,
    SelectionTrial,
    Standing,
    SweepAssignment,
    run_dir,
    settings_of,
    standing_of,
)

PICTURE = "sweep.png"
_METHOD = "e2hil_paper"  # method whose settings are varied


@dataclass(frozen=True)
class SelectionSweep:
    """Plan of a sweep.

    Attributes:
        task: Name of the settings file.
        settings: Settings of the task, with overrides.
        goal: Ends and rungs of the trials.
        samples: Number of trials, including the one with the paper's values.
        seed: Seed of all random draws, including the points.
    """

    task: str
    settings: Settings
    goal: Goal
    samples: int
    seed: int

    @property
    def paper(self) -> Trial:
        """Trial with the paper's values, as one of a comparison."""
        base = with_settings(apply_method(self.settings, _METHOD), f"seed={self.seed}")
        settings = settings_of(base, paper_values(), self.goal.steps)
        return Trial(self.task, _METHOD, self.seed, settings, config_hash(settings))

    def identity(self) -> dict[str, Any]:
        """Return the values that a resumed sweep must share; the number of samples may grow."""
        sections = self.paper.settings.resolved()
        for name in ("checkpoint", "resources", "stop"):
            del sections[name]
        searched = [[s.key, s.low, s.high, s.step, s.log] for s in SEARCHED]
        known = {"task": self.task, **asdict(self.goal), "searched": searched, **sections}
        plain: dict[str, Any] = json.loads(json.dumps(known))
        return plain


def run_selection_sweep(
    sweep: SelectionSweep,
    out: Path,
    console: Console,
    share: Share = ONE_CPU,
    address: str | None = None,
    concurrent: int | None = None,
) -> Ended:
    """Run the trials that have not ended yet.

    Args:
        sweep: Sweep to run.
        out: Folder of the sweep, absolute; on a cluster one that all machines see.
        console: Console for the progress.
        share: Share of a machine for each trial.
        address: Address of a Ray cluster; None starts Ray here, unless it runs in this process.
        concurrent: Most trials at once; None runs as many as fit.

    Raises:
        UserError: The sweep cannot be run as asked; nothing has been started.
    """
    _check_optuna()
    with only_one(out):
        _check_identity(sweep, out)
        say_version(code_version(), console)
        points = Points(out / "points.json")
        _end_finished(points, sweep, out)
        finished = len(_ended_of(sweep, out))
        if finished:
            console.print(f"{finished} of {sweep.samples} trials are in {out / TRIALS} already.")
        failed: Sequence[tuple[str, str]] = ()
        if finished < sweep.samples:
            _check_trainable(sweep, out, here=address is None)
            record_missing([sweep.paper], out, console)
            _write_identity(sweep, out)
            failed = _tune(sweep, points, out, console, share, address, concurrent)
        ended = Ended(sweep.samples - len(_ended_of(sweep, out)), len(failed))
        _conclude(sweep, out, console)
        say_end(ended, failed, out, TRIALS, console)
        return ended


def _check_optuna() -> None:
    if importlib.util.find_spec("optuna") is None:
        raise PlanError(
            "Points are proposed by Optuna, which is not installed: pip install 'optuna>=4'"
        )


def _check_identity(sweep: SelectionSweep, out: Path) -> None:
    """Refuse a folder in which another sweep was begun."""
    path = out / "sweep.json"
    if not path.exists():
        return
    begun, wanted = json.loads(path.read_text(encoding="utf-8")), sweep.identity()
    changed = [key for key in sorted(begun | wanted) if begun.get(key) != wanted.get(key)]
    if changed:
        raise PlanError(
            f"The sweep in {out} was begun with other values of {', '.join(changed)}. Name another "
            "folder with --out, or remove this one."
        )


def _write_identity(sweep: SelectionSweep, out: Path) -> None:
    with swapped_in(out / "sweep.json") as new:
        new.write_text(json.dumps(sweep.identity(), indent=1) + "\n", encoding="utf-8")


def _check_trainable(sweep: SelectionSweep, out: Path, here: bool) -> None:
    """Refuse settings that cannot be trained, before anything is recorded or started."""
    run = RunFolder(out / run_dir(0))
    check_settings(sweep.paper.settings, run, here)  # makes environments
    for end in ("low", "high"):
        values: Values = {s.key: type(s.paper)(getattr(s, end)) for s in SEARCHED}
        algorithm_config(settings_of(sweep.paper.settings, values, sweep.goal.steps), run)


def _ended_of(sweep: SelectionSweep, out: Path) -> list[int]:
    return [trial.number for trial in read_trials(out) if trial.number < sweep.samples]


def _end_finished(points: Points, sweep: SelectionSweep, out: Path) -> None:
    """Add missing rows of trials that had ended when the sweep was killed."""
    ended = {trial.number for trial in read_trials(out)}
    for number, values in enumerate(points.all):
        standing = _standing(sweep, out, number)
        if standing.ended and number not in ended:
            append_trial(out, ended_trial(out, number, values, standing))


def _standing(sweep: SelectionSweep, out: Path, number: int) -> Standing:
    run = RunFolder(out / run_dir(number))
    try:
        return standing_of(run, sweep.goal)
    except ValueError as error:
        raise PlanError(
            f"A file of trial {number} cannot be read: {error}. Remove the lines that are damaged, "
            f"or all of {run.root} to train this trial again."
        ) from error


def _tune(
    sweep: SelectionSweep,
    points: Points,
    out: Path,
    console: Console,
    share: Share,
    address: str | None,
    concurrent: int | None,
) -> Sequence[tuple[str, str]]:
    """Run one experiment and return the failed trials; resuming does not need Tune's own state."""
    ended = read_trials(out)
    numbers = {trial.number for trial in ended}
    begun = range(min(len(points.all), sweep.samples))
    waiting = [number for number in begun if number not in numbers]
    rungs = {n: _standing(sweep, out, n).rungs for n in begun}
    scheduler = EqualCostASHA(sweep.goal, rungs, sorted(numbers & rungs.keys()))
    search = PointSearch(points, ended, waiting, sweep.seed)
    quiet_tune()
    trainable = tune.with_resources(SelectionTrial, {"cpu": share.cpus, "gpu": share.gpus})
    finished = len(numbers & set(range(sweep.samples)))
    with (
        ray_running(address, share),
        SelectionProgress(console, sweep.samples, finished, out, scheduler) as progress,
    ):
        tune.Tuner(
            trainable,
            param_space={"assignment": asdict(_assignment(sweep, out))},
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=scheduler,
                num_samples=sweep.samples - finished,
                max_concurrent_trials=concurrent,
                trial_name_creator=_name_of,
                trial_dirname_creator=_name_of,
                reuse_actors=False,
            ),
            run_config=run_config(out, progress),
        ).fit()
        return progress.failed


def _assignment(sweep: SelectionSweep, out: Path) -> SweepAssignment:
    settings = with_demonstrations(sweep.paper.settings, folder_of(sweep.paper, out))
    return SweepAssignment(settings.resolved(), asdict(sweep.goal), code_version(), str(out))


def _name_of(trial: tune.experiment.Trial) -> str:
    return f"trial_{trial.config['number']:03d}"


def _conclude(sweep: SelectionSweep, out: Path, console: Console) -> None:
    """Show the best trials next to the paper's values, and draw all of them."""
    trials = read_trials(out)
    if not trials:
        return
    versions = sorted({trial.code_version for trial in trials})
    if len(versions) > 1:
        console.print(f"The trials are of several versions of the code: {', '.join(versions)}.")
    console.print(best_table(trials, sweep.goal.human_steps))
    draw_sweep(trials, sweep.goal.human_steps, out / PICTURE)
    console.print(f"Picture: {out / PICTURE}", highlight=False, soft_wrap=True)
