"""Trial of a sweep, a slice of training at a time."""

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
"""Reasons for the end of a trial."""

_HUMAN_STEPS = "num_human_steps_lifetime"
_REDUCTION = 3  # one of three trials passes a rung


class UnknownSuccessError(UserError):
    """An environment that does not tell success, so that trials cannot be compared."""


@dataclass(frozen=True)
class Goal:
    """Ends and rungs of a sweep's trials.

    Attributes:
        steps: Budget of environment steps; a trial that no longer needs the person ends there.
        human_steps: Human steps H to compare over; a trial ends once it has spent them.
        slice: Environment steps between two evaluations.
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
    """Progress of a trial, and its result so far.

    Attributes:
        steps: Environment steps of training at the last evaluation; 0 before the first one.
        human_steps: Human steps spent by then, without the demonstrations.
        success_rate: Success of the last evaluation, 0 to 1.
        objective: Mean success over the human steps spent so far; over all H once it has ended.
        rungs: Human steps and mean success up to there of each rung that it has reached after its
            first evaluation.
        ended: ``BUDGET`` or ``HUMAN_STEPS_SPENT``; "" while there is more to train.
    """

    steps: int
    human_steps: int
    success_rate: float
    objective: float
    rungs: Sequence[Point]
    ended: str


def standing_of(run: RunFolder, goal: Goal) -> Standing:
    """Read the progress of a trial from its run folder.

    An evaluation counts once a checkpoint follows it: a resumed run forgets later ones.

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
    # A policy that no longer needs the person has reached every rung: its last success is carried
    # forward. Its success before the first evaluation is unknown, which is no reason to prune it.
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
    """Return steps, human steps and success of each evaluation, in order."""
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
    """Assignment that the processes of all trials share, as plain values.

    Attributes:
        settings: ``Settings.resolved()`` of the task, with the paper's values.
        goal: Fields of ``Goal``.
        code_version: Version of the code, where the process cannot find it out itself.
        out: Folder of the sweep.
    """

    settings: dict[str, Any]
    goal: dict[str, int]
    code_version: str
    out: str


def run_dir(number: int) -> str:
    """Return the run folder of a trial, relative to the sweep's."""
    return f"trials/trial_{number:03d}"


def settings_of(base: Settings, values: Values, steps: int) -> Settings:
    """Return the settings of a trial.

    Args:
        base: Settings of the task.
        values: Values of the searched settings.
        steps: Environment steps at which training ends.

    Raises:
        SettingsError: A value is of a wrong type.
    """
    changes = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    return with_settings(base, *changes, f"stop.steps={steps}")


class SelectionTrial(tune.Trainable):
    """Ray Tune's view of a trial: a step is a slice of training and the evaluation at its end.

    The run folder holds all that resuming needs, so that Tune's checkpoints are empty.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Unpack the assignment, and the trial's number and values."""
        self._assignment = SweepAssignment(**config["assignment"])
        self._number: int = config["number"]
        self._values: Values = config["values"]

    def step(self) -> dict[str, Any]:
        """Train a slice further."""
        standing = train_slice(self._assignment, self._number, self._values)
        return dataclasses.asdict(standing) | {"done": bool(standing.ended)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Save nothing."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Load nothing."""


def train_slice(assignment: SweepAssignment, number: int, values: Values) -> Standing:
    """Train a trial to the end of its slice; an ended trial is left as it is.

    Args:
        assignment: Assignment that all trials share.
        number: Number of the trial.
        values: Values of the searched settings.

    Raises:
        UserError: Training is impossible or was stopped; the message says why.
    """
    goal = Goal(**assignment.goal)
    run = RunFolder(Path(assignment.out) / run_dir(number))
    standing = standing_of(run, goal)
    if standing.ended:
        return standing
    # Counted from the last evaluation, not from the last checkpoint: a kill in between leaves a
    # pending evaluation.
    end = min((standing.steps // goal.slice + 1) * goal.slice, goal.steps)
    settings = settings_of(Settings.model_validate(assignment.settings), values, end)
    train_logged(settings, run, assignment.code_version)
    return standing_of(run, goal)
