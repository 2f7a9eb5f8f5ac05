"""Comparison of methods on tasks over seeds, as one Ray Tune experiment.

    python -m tune_scripts.compare --tasks touch_cube pick_cube \
        --methods default hil_serl bc --seeds 5 --out runs/methods

The same command resumes a comparison that was stopped or killed; a resumed trial counts the
episodes since its checkpoint, and may end up to an iteration (100 steps) later than asked. Results
are those of one version of the code, so run it from a clone that nobody works in (``git clone .
../sweep``).

Plan, written before the first run
----------------------------------
Tasks and settings: the files touch_cube, pick_cube, pick_place_cube and stack_blocks of configs/,
as they are: a box of 16 x 30 x 14 cm, 20 mm a step at 10 Hz, observation of the arm's state and of
the objects' places, 10 demonstrations of the simulated person (the same ones for all methods of a
task and seed). The person has skill 0.8, attention 0.9 and 1.5 s of patience, sees what happens and
not the method, and has an own random stream. Numbers of the learner: ``settings/presets.py``.

Methods: ``default`` is frozen as chosen on seeds 100 to 102 of Pick Cube and 100 and 101 of Pick &
Place (results/screening*): no selection, imitation weight 100 with dropout 0.2 and no Q filter,
actor_lr 0.001, vectors at the scales 1, 3 and 9, an averaged policy that acts, targets bounded by
the highest return alone, initial_alpha 0.001, alpha_lr 0.003, no backup entropy, exploration noise
0.1, no warm start, one-step targets; UTD 2, batch 256, gamma 0.97 as everywhere. ``hil_serl`` and
``e2hil_paper`` have the published numbers, ``hil_serl_repaired`` the bound, the temperature, the
scales and the average of the default, ``bc`` is the control without critics. A method that is
missing in the tables of results/README.md was not run.

Persons: interventions depend on the person's impatience as much as on the policy, so that
``--patience 0.6 1.5 3``, ``--skill`` and ``--attention`` compare persons; each is a separate
condition.

Budgets: ``BUDGETS``, with the reason for each. Success saturates, so that methods differ first of
all in the human's work, and in success at a budget at which the baseline still fails sometimes.

Measures: human steps and takeovers until success alone holds, that is at the first of three
consecutive evaluations (``--evaluate-every``; 50 deterministic episodes without the operator) with
90 % or more, and whether it fell back later; both in total, without the demonstrations; success of
the final evaluation, with its Wilson interval; human steps until 90 % of the last 20 training
episodes succeeded without one; intervention rate. A trial that never gets there has no such figure:
it counts as worse than any that does. Over seeds: interquartile mean, 95 % stratified-bootstrap
intervals and probability of improvement, by ``e2hil report --compare``.

Seeds: 5; more by ``--seeds`` where a machine allows it, since the same command adds them. Seeds
from 100 on are for trying settings out; they are never reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from e2hil_rllib.commands.cli.common import Debug, Overrides, console, user_errors
from tune_scripts.compare.methods import METHODS, find_method
from tune_scripts.compare.persons import Person, all_persons, trait_key
from tune_scripts.compare.plan import PlanError, load_task, plan_trials
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

BUDGETS: dict[str, int] = {
    # Pilot, hil_serl, seed 100: 9 of 20 alone at 1 000 steps, 11 at 2 000 to 4 000, 20 at 5 000,
    # one of the two places being learned late, while seeds 0 to 2 of an earlier version were done
    # by 1 500: neither floor nor ceiling, and most of the human's work is over.
    "touch_cube": 4_000,
    # Pilot, hil_serl, seed 100, 20 episodes: 0 % at 3 000 steps, 15 % at 4 000, 60 % at 5 000,
    # 95 % at 6 000 and 100 % from 8 000 on.
    "pick_cube": 5_000,
    # Pilot, hil_serl, seed 100, 50 episodes: 2 % at 6 000 steps, 6 at 8 000, 12 at 10 000, 30 at
    # 12 000, 62 at 14 000.
    "pick_place_cube": 12_000,
    # Pilot, hil_serl, seed 100, 50 episodes: nothing until 8 000 steps, 2 % at 10 000. Not
    # measured further; half of what configs/ plans to the end.
    "stack_blocks": 30_000,
}
"""Environment steps of a trial. Other tasks train as long as their settings file says."""

EVALUATE_EVERY = 500
"""Steps between two evaluations; lasting success takes three of them in a row."""

_EVALUATE_EVERY_KEY = "evaluation.every_steps"
_TYPED = "typed"  # key of the arguments in a command's context


class _Command(SeveralValues):
    """Command that keeps its arguments as typed, for ``commands.csv``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_TYPED] = list(args)
        return super().parse_args(ctx, args)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(cls=_Command)
def main(
    context: typer.Context,
    tasks: Annotated[
        list[str], typer.Option(help="Names of settings files in --configs, without .yaml.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder of the comparison; on a cluster, one that all machines see."),
    ],
    methods: Annotated[
        list[str] | None,
        typer.Option(help=f"Any of {', '.join(METHODS)}; by default the first three."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each task and method.")] = 5,
    first_seed: Annotated[
        int, typer.Option(min=0, help="First seed; the others count up from it.")
    ] = 0,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of a trial; by default the task's budget, see BUDGETS."),
    ] = None,
    evaluate_every: Annotated[
        int, typer.Option(min=1, help="Steps of a trial between two evaluations.")
    ] = EVALUATE_EVERY,
    patience: Annotated[
        list[float] | None,
        typer.Option(help="How long the person waits [s]; several values are persons to compare."),
    ] = None,
    skill: Annotated[
        list[float] | None, typer.Option(help="How well the person leads, 0 to 1; as --patience.")
    ] = None,
    attention: Annotated[
        list[float] | None,
        typer.Option(help="How soon the person notices trouble, 0 to 1; as --patience."),
    ] = None,
    address: Address = None,
    cpus_per_trial: CpusPerTrial = 1,
    gpus_per_trial: GpusPerTrial = 0,
    overrides: Overrides = None,
    any_version: Annotated[
        bool,
        typer.Option(
            "--any-version",
            help="Count results of other code as finished, and resume runs that it began.",
        ),
    ] = False,
    configs: Configs = CONFIGS,
    debug: Debug = False,
) -> None:
    """Train every method on every task with every seed, and collect the results in one table.

    OUT/results.csv gets a row as soon as a trial has finished. The same command resumes a stopped
    comparison; finished trials are not run again. Exit status 1: trials failed, see
    OUT/errors.csv. OUT/commands.csv gets a row for each start, for tune_scripts.publish.
    """
    from tune_scripts.cluster import Share
    from tune_scripts.compare.run import run_sweep

    with user_errors(debug):
        methods = methods or list(METHODS)[:3]
        persons = all_persons({"patience": patience, "skill": skill, "attention": attention})
        _refuse_planned(overrides or [], methods, persons)
        settings = {}
        for task in tasks:
            wanted = trial_overrides(overrides, steps or BUDGETS.get(task), gpus_per_trial)
            wanted.append(f"{_EVALUATE_EVERY_KEY}={evaluate_every}")
            settings[task] = load_task(configs, task, wanted)
        trials = plan_trials(settings, methods, range(first_seed, first_seed + seeds), persons)
        share = Share(cpus_per_trial, gpus_per_trial)
        ended = run_sweep(
            trials, out.resolve(), console, share, address, any_version, context.meta[_TYPED]
        )
        raise typer.Exit(ended.exit_status)


def _refuse_planned(
    overrides: Sequence[str], methods: Sequence[str], persons: Sequence[Person]
) -> None:
    """Refuse overrides of settings that the plan sets itself, after --set.

    Raises:
        PlanError: A setting belongs to another option or to a method.
        SettingsError: There is no such method.
    """
    instead = {
        "seed": "give --seeds and --first-seed",
        "stop.steps": "give --steps",
        _EVALUATE_EVERY_KEY: "give --evaluate-every",
    }
    for person in persons:
        for trait, _ in person.traits:
            instead[trait_key(trait)] = f"--{trait} sets it"
    for method in methods:
        for override in find_method(method).overrides:
            instead[key_of(override)] = f"the method {method} is made of it"
    for override in overrides:
        if (key := key_of(override)) in instead:
            raise PlanError(f"--set {override} would have no effect: {instead[key]}.")
