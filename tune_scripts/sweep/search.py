"""Search algorithm and scheduler of a sweep: Ray Tune's OptunaSearch and ASHAScheduler.

Both are subclassed where a sweep differs. A resumed sweep fills them from its own folder: the
points, on disk before their trials begin; the rows of the trials that ended; the run folders.
Tune's own state is written now and then, so that a kill between two writes would lose trials; and
OptunaSearch takes either points to run or points with results, but a resumed sweep has both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from e2hil_rllib.disk.files import swapped_in
from tune_scripts.compare.equal_cost import Point
from tune_scripts.sweep.results import EndedTrial
from tune_scripts.sweep.space import SEARCHED, Values, paper_values
from tune_scripts.sweep.trial import Goal

REFERENCE = 0
"""Number of the trial with the paper's values."""
OBJECTIVE, HUMAN_STEPS = "objective", "human_steps"


class Points:
    """Points of a sweep by the number of their trial, on disk before the trials begin.

    Args:
        path: File of the points; a missing one is created with the paper's values as only point.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            self.all: list[Values] = json.loads(path.read_text(encoding="utf-8"))
        else:
            self.all = []
            self.append(paper_values())

    def append(self, values: Values) -> int:
        """Add a point and return its number."""
        self.all.append(values)
        with swapped_in(self._path) as new:
            new.write_text(json.dumps(self.all, indent=1) + "\n", encoding="utf-8")
        return len(self.all) - 1


class PointSearch(OptunaSearch):
    """TPE over ``SEARCHED``, seeded; the points of unfinished trials come first.

    Args:
        points: All points so far.
        ended: Trials that have ended.
        open_numbers: Numbers of the points to run or to resume, in their order.
        seed: Seed of the sweep.
    """

    def __init__(
        self, points: Points, ended: Sequence[EndedTrial], open_numbers: Sequence[int], seed: int
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # A resumed sweep must not draw the points of its beginning again.
        state = np.random.SeedSequence((seed, len(points.all))).generate_state(1)
        super().__init__(
            {searched.key: searched.distribution() for searched in SEARCHED},
            metric=OBJECTIVE,
            mode="max",
            points_to_evaluate=[points.all[number] for number in open_numbers],
            sampler=optuna.samplers.TPESampler(seed=int(state[0])),
        )
        self._points = points
        self._waiting = list(open_numbers)
        for trial in ended:
            self._add(trial)

    def _add(self, trial: EndedTrial) -> None:
        """Add a trial of an earlier process to the study.

        ``add_evaluated_point`` would number a pruned trial's intermediate value by its place in a
        list, but TPE ranks pruned trials by their human steps.
        """
        from optuna.trial import TrialState, create_trial

        pruned = trial.pruned
        self._ot_study.add_trial(
            create_trial(
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                value=trial.objective,
                params=trial.values,
                distributions=self._space,
                intermediate_values={trial.human_steps: trial.objective} if pruned else {},
            )
        )

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Return the next point and its number."""
        values = super().suggest(trial_id)
        number = self._waiting.pop(0) if self._waiting else self._points.append(dict(values))
        return {"number": number, "values": self._points.all[number]}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Ignore a result: ASHA prunes, and TPE learns from the ends of trials."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna the end of a trial.

        The objective of a pruned trial is over fewer human steps and thus no value of the study:
        TPE ranks the trial below all complete ones, and among pruned ones by its human steps.
        """
        if result is not None and not result["ended"]:
            self._ot_trials[trial_id].report(result[OBJECTIVE], result[HUMAN_STEPS])
            result = None
        super().on_trial_complete(trial_id, result, error)


class EqualCostASHA(ASHAScheduler):
    """ASHA over human steps: at a rung, all trials have cost the person the same.

    A slice of training ends somewhere after a rung; the trials are compared by their mean success
    up to the rung itself, which ASHA, given one objective a result, cannot know. Rungs before a
    trial's first evaluation are left out. Ended trials count at every rung after it. The trial with
    the paper's values is compared, but never pruned: the others are held against it.

    Args:
        goal: Goal of the sweep.
        earlier: Rungs that each trial of an earlier process has passed, by its number. They count,
            and are not decided again.
        ended: Numbers of the trials that have ended.

    Attributes:
        pruned: Tune's ids of the pruned trials.
    """

    def __init__(
        self, goal: Goal, earlier: Mapping[int, Sequence[Point]], ended: Sequence[int]
    ) -> None:
        super().__init__(
            time_attr=HUMAN_STEPS,
            metric=OBJECTIVE,
            mode="max",
            max_t=goal.human_steps,
            grace_period=goal.first_rung,
            reduction_factor=goal.reduction_factor,
            # Otherwise a trial at its rung again is taken to a lower one that it was not at.
            stop_last_trials=False,
        )
        self._earlier = dict(earlier)
        self.pruned: set[str] = set()
        for number in ended:
            self.on_trial_add(None, Trial("ended", config={"number": number}, stub=True))

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Record the rungs that a trial passed in an earlier process."""
        super().on_trial_add(tune_controller, trial)
        self._at_rungs(trial, self._earlier.get(trial.config["number"], ()))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Decide on a trial at the rungs that it has reached."""
        stop = self._at_rungs(trial, result["rungs"])
        if not stop or trial.config["number"] == REFERENCE:
            return TrialScheduler.CONTINUE
        self.pruned.add(trial.trial_id)
        return TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Record the rungs of an ended trial for the others."""
        self._at_rungs(trial, result["rungs"])

    def _at_rungs(self, trial: Trial, rungs: Sequence[Point]) -> bool:
        """Return whether a trial is among the worse ones at a rung that is new to it."""
        decisions = [
            super(EqualCostASHA, self).on_trial_result(
                None, trial, {HUMAN_STEPS: human_steps, OBJECTIVE: objective}
            )
            for human_steps, objective in rungs
        ]
        return TrialScheduler.STOP in decisions
