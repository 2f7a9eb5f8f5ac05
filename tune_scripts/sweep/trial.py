"""A trial of a sweep over the selection, a slice of training at a time."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from e2hil_rllib.errors import UserError
from e2hil_rllib.run.checkpoints import CheckpointStore
from e2hil_rllib.run.evaluation_log import read_evaluations, summarize
from e2hil_rllib.run.progress import STEP, read_rows
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.run_settings import Settings
from tune_scripts.compare.equal_cost import Point, mean_success
from tune_scripts.compare.methods import with_settings
from tune_scripts.compare.trial import train_logged
from tune_scripts.sweep.space import Values

BUDGET, HUMAN_STEPS_SPENT, PRUNED = "budget", "human steps spent", "pruned by ASHA"
"""Why a trial ended."""

_HUMAN_STEPS = "num_human_steps_lifetime"
_REDUCTION = 3  # of three trials at a rung, ASHA lets the best one go on


class UnknownSuccessError(UserError):
    """An environment that does not tell success, so that there is nothing to compare by."""


@dataclass(frozen=True)
class Goal:
    """How far every trial of a sweep goes.

    Attributes:
        steps: Of the environment; a trial that no longer needs the person ends there.
        human_steps: H, human-controlled steps that are compared; a trial ends once it spent them.
        slice: Steps between two evaluations.
    """

    steps: int
    human_steps: int
    slice: int

    @property
    def first_rung(self) -> int:
        """Human steps before which no trial is compared."""
        return math.ceil(self.human_steps / _REDUCTION**2)

    @property
    def reduction_factor(self) -> int:
        """Ratio of two rungs, and of trials that come to a rung and pass it."""
        return _REDUCTION

    @property
    def rungs(self) -> list[int]:
        """Human steps at which trials are compared, below H."""
        both = (self.first_rung, self.first_rung * _REDUCTION)
        return [rung for rung in both if rung < self.human_steps]


@dataclass(frozen=True)
class Standing:
    """How far a trial has come, and what it has come to.

    Attributes:
        steps: Of training, at the last evaluation; 0 before the first one.
        human_steps: Spent by then, without the demonstrations.
        success_rate: Of the last evaluation.
        objective: Mean success over the human steps spent so far; over all H once it has ended.
        rungs: Human steps and mean success up to there, of each rung that it has come to after its
            first evaluation.
        ended: `BUDGET` or `HUMAN_STEPS_SPENT`; "" while there is more to train.
    """

    steps: int
    human_steps: int
    success_rate: float
    objective: float
    rungs: Sequence[Point]
    ended: str


def standing_of(run: RunFolder, goal: Goal) -> Standing:
    """Reads how far a trial has come.

    An evaluation counts once a checkpoint knows of it: of later ones a resumed run knows nothing.

    Raises:
        UnknownSuccessError: The environment does not tell success.
        ValueError: A file of the run cannot be read.
    """
    evaluated = _evaluated(run)
    points = [(human, success) for _, human, success in evaluated]
    steps, human_steps, success = evaluated[-1] if evaluated else (0, 0, 0.0)
    ended = ""
    if human_steps >= goal.human_steps:
        ended = HUMAN_STEPS_SPENT
    elif steps >= goal.steps:
        ended = BUDGET
    # Who needs nobody any more has come to every rung: the last success is carried forward. What a
    # policy could do before its first evaluation is not known, which is no reason to prune it.
    first = points[0][0] if points else math.inf
    reached = [rung for rung in goal.rungs if first <= rung and (ended or rung <= human_steps)]
    return Standing(
        steps=steps,
        human_steps=human_steps,
        success_rate=success,
        objective=mean_success(points, goal.human_steps if ended else human_steps),
        rungs=[(rung, mean_success(points, rung)) for rung in reached],
        ended=ended,
    )


def _evaluated(run: RunFolder) -> list[tuple[int, int, float]]:
    """Steps, human steps and success of each evaluation, in their order."""
    checkpoint = run.checkpoints().latest()
    if checkpoint is None or not run.progress.exists():
        return []
    known = CheckpointStore.step_of(checkpoint)
    human_steps = {int(row[STEP]): int(row[_HUMAN_STEPS]) for row in read_rows(run.progress)}
    episodes = [e for e in read_evaluations(run.evaluation) if e.step <= known]
    evaluated = []
    for step in sorted({episode.step for episode in episodes} & human_steps.keys()):
        success = summarize(e for e in episodes if e.step == step)["all"].success_rate
        if math.isnan(success):
            raise UnknownSuccessError(
                f"{run.evaluation} has no success at step {step}: the environment does not tell "
                "it. Sweep over a task that says 'succeed' in its info."
            )
        evaluated.append((step, human_steps[step], success))
    return evaluated


@dataclass(frozen=True)
class SweepAssignment:
    """What the processes of all trials have to know, as plain values.

    Attributes:
        settings: `Settings.resolved()` of the task, with the paper's values.
        goal: Fields of `Goal`.
        code_version: Of the code, where the process cannot find it out itself.
        out: Folder of the sweep.
    """

    settings: dict[str, Any]
    goal: dict[str, int]
    code_version: str
    out: str


def run_dir(number: int) -> str:
    """Run folder of a trial, relative to the sweep's."""
    return f"trials/trial_{number:03d}"


def settings_of(base: Settings, values: Values, steps: int) -> Settings:
    """The settings of a trial.

    Args:
        base: Of the task.
        values: Of the searched settings.
        steps: Where training ends.

    Raises:
        SettingsError: A value is of a wrong type.
    """
    changes = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    return with_settings(base, *changes, f"stop.steps={steps}")


class SelectionTrial(tune.Trainable):
    """Ray Tune's view of a trial: a step is a slice of training and the evaluation at its end.

    All that it needs to go on lies in its run folder, so that Tune keeps nothing.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Takes what all trials share, and the trial's number and values."""
        self._assignment = SweepAssignment(**config["assignment"])
        self._number: int = config["number"]
        self._values: Values = config["values"]

    def step(self) -> dict[str, Any]:
        """Trains a slice further."""
        standing = train_slice(self._assignment, self._number, self._values)
        return dataclasses.asdict(standing) | {"done": bool(standing.ended)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: Tune saves what has ended."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing."""


def train_slice(assignment: SweepAssignment, number: int, values: Values) -> Standing:
    """Trains to the end of the slice that a trial is in; one that has ended stays as it is.

    Args:
        assignment: What all trials share.
        number: Of the trial.
        values: Of the searched settings.

    Raises:
        UserError: Training is impossible or was stopped; the message says why.
    """
    goal = Goal(**assignment.goal)
    run = RunFolder(Path(assignment.out) / run_dir(number))
    standing = standing_of(run, goal)
    if standing.ended:
        return standing
    # By the last evaluation, not by the last checkpoint: a kill in between leaves one to be made.
    end = min((standing.steps // goal.slice + 1) * goal.slice, goal.steps)
    settings = settings_of(Settings.model_validate(assignment.settings), values, end)
    train_logged(settings, run, assignment.code_version)
    return standing_of(run, goal)
