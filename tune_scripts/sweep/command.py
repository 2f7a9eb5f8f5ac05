"""Sweep over the selection's settings on a task in simulation, as one Ray Tune experiment.

    python -m tune_scripts.sweep --task touch_cube --samples 20 --out runs/selection

The searched settings and their ranges are in ``tune_scripts.sweep.space.SEARCHED``. Optuna's TPE
proposes the points, the first of which has the paper's values; ASHA prunes trials.

The objective is success at equal human cost: the mean, over the first H human steps of training, of
the success of the policy alone, which is evaluated at the end of each slice. It is 0 before the
first evaluation; if a policy no longer needs the person before H, its last success is carried
forward. ASHA compares trials at equal human steps, too, after the first evaluation of each: a slice
should cost fewer human steps than a ninth of H. The trial with the paper's values is never pruned.

The same command resumes a sweep that was stopped or killed, with the same points; with more
--samples, it adds trials. ``e2hil report OUT/trials/trial_000`` draws one of them. A single seed
may be lucky: settings that win here are to be compared over seeds by ``tune_scripts.compare
--set``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from e2hil_rllib.commands.cli.common import Debug, Overrides, console, user_errors
from e2hil_rllib.settings.run_settings import Settings
from tune_scripts.compare.command import BUDGETS
from tune_scripts.compare.plan import PlanError, load_task
from tune_scripts.options import (
    CONFIGS,
    Address,
    Configs,
    CpusPerTrial,
    GpusPerTrial,
    SeveralValues,
    key_of,
    trial_overrides,
)

HUMAN_STEPS = {
    # With the paper's values, the person led 87 to 1 446 of the 4 000 steps, seeds 0 to 9.
    "touch_cube": 1000,
}
"""Default of H, for tasks whose policies are known to succeed by then."""

_FIXED = ("entropy_selection.enabled", "seed", "stop.steps")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(cls=SeveralValues)
def main(
    task: Annotated[str, typer.Option(help="Name of a settings file in --configs, without .yaml.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the sweep; on a cluster, one that all machines see.")
    ],
    samples: Annotated[
        int, typer.Option(min=1, help="Trials, including the one with the paper's values.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all trials, and of the points.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most steps of a trial; by default the task's budget in a comparison."
        ),
    ] = None,
    human_steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="H, at which trials end too; it can be left out for touch_cube only."
        ),
    ] = None,
    slice_: Annotated[
        int,
        typer.Option(
            "--slice",
            min=1,
            help="Steps between two evaluations. ASHA compares at H/9 and H/3 human steps, where "
            "a trial had been evaluated by then.",
        ),
    ] = 500,
    concurrent: Annotated[
        int,
        typer.Option(min=1, help="Most trials at once; each is proposed from the ended ones."),
    ] = 4,
    address: Address = None,
    cpus_per_trial: CpusPerTrial = 1,
    gpus_per_trial: GpusPerTrial = 0,
    overrides: Overrides = None,
    configs: Configs = CONFIGS,
    debug: Debug = False,
) -> None:
    """Search the selection's settings, by success at equal human cost.

    OUT/trials.csv gets a row as soon as a trial has ended, OUT/sweep.png shows them all at the end.
    The same command resumes a stopped sweep. Exit status 1: trials failed, see OUT/errors.csv.
    """
    from tune_scripts.cluster import Share
    from tune_scripts.sweep.run import SelectionSweep, run_selection_sweep
    from tune_scripts.sweep.trial import Goal

    with user_errors(debug):
        wanted = trial_overrides(overrides, None, gpus_per_trial)
        _refuse_searched(wanted)
        settings = load_task(configs, task, wanted)
        _refuse_unfit(settings, task)
        budget = steps or BUDGETS.get(task) or settings.stop.steps
        goal = Goal(budget, human_steps or _human_steps(task), slice_)
        sweep = SelectionSweep(task, settings, goal, samples, seed)
        share = Share(cpus_per_trial, gpus_per_trial)
        ended = run_selection_sweep(sweep, out.resolve(), console, share, address, concurrent)
        raise typer.Exit(ended.exit_status)


def _human_steps(task: str) -> int:
    if task not in HUMAN_STEPS:
        raise PlanError(
            f"Give --human-steps for {task}: so many human steps that a policy succeeds sometimes "
            "by then, or every objective is 0. curves.csv of a published comparison has both."
        )
    return HUMAN_STEPS[task]


def _refuse_searched(overrides: list[str]) -> None:
    """Refuse overrides of settings that the sweep sets itself.

    Raises:
        PlanError: A setting is searched, or belongs to another option.
    """
    from tune_scripts.sweep.space import SEARCHED

    keys = {key_of(override) for override in overrides}
    if searched := keys & {searched.key for searched in SEARCHED}:
        raise PlanError(
            f"--set {', '.join(sorted(searched))}: the sweep searches it. Leave it out; the ranges "
            "are those of tune_scripts/sweep/space.py."
        )
    if fixed := keys & set(_FIXED):
        raise PlanError(
            f"--set {', '.join(sorted(fixed))}: the sweep sets it. The selection is always on; "
            "give --seed and --steps in place of the others."
        )


def _refuse_unfit(settings: Settings, task: str) -> None:
    if settings.stop.autonomous_success_rate is not None:
        raise PlanError(
            f"The task {task} has stop.autonomous_success_rate="
            f"{settings.stop.autonomous_success_rate}, but trials end by human steps or steps. Add "
            "--set stop.autonomous_success_rate=null."
        )
