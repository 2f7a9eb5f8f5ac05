"""Who proposes the points of a sweep and who prunes trials: Optuna's TPE, and ASHA.

Both are filled anew from the sweep's folder whenever it is gone on with, from the list of points
that is on disk before a trial begins, from the rows of those that ended, and from run folders. What
Tune stores of them is not needed, so that a kill between two of its writes loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from e2hil_rllib.disk.files import swapped_in
from tune_scripts.compare.equal_cost import Point
from tune_scripts.sweep.results import EndedTrial
from tune_scripts.sweep.space import SEARCHED, Values, paper_values
from tune_scripts.sweep.trial import Goal

REFERENCE = 0
"""Number of the trial that has the paper's values."""
OBJECTIVE, HUMAN_STEPS = "objective", "human_steps"


class Points:
    """The points of a sweep by their trial's number, on disk before their trials begin.

    Args:
        path: The file; it is made with the paper's values as its only point if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            self.all: list[Values] = json.loads(path.read_text(encoding="utf-8"))
        else:
            self.all = []
            self.append(paper_values())

    def append(self, values: Values) -> int:
        """Adds a point; returns its number."""
        self.all.append(values)
        with swapped_in(self._path) as new:
            new.write_text(json.dumps(self.all, indent=1) + "\n", encoding="utf-8")
        return len(self.all) - 1


class PointSearch(OptunaSearch):
    """TPE over `SEARCHED`, seeded; the first points are those whose trials have not ended.

    Args:
        points: All points so far.
        ended: What trials have come to.
        open_numbers: Of the points whose trials are to be run or gone on with, in their order.
        seed: Of the sweep.
    """

    def __init__(
        self, points: Points, ended: Sequence[EndedTrial], open_numbers: Sequence[int], seed: int
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # What goes on draws other points than what began: the same ones would come twice.
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
        """Tells Optuna what an earlier process has found out."""
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

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Accepts what Tune's configuration holds beside the space: it is the same for all."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """The next point and its number."""
        values = super().suggest(trial_id)
        number = self._waiting.pop(0) if self._waiting else self._points.append(dict(values))
        return {"number": number, "values": self._points.all[number]}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Nothing: ASHA prunes, and TPE learns from what trials end with."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells what a trial has come to.

        The objective of a pruned one is over fewer human steps, so that it is no value: TPE ranks
        it below all that were not pruned, among its like by the human steps it came to.
        """
        if result is not None and not result["ended"]:
            self._ot_trials[trial_id].report(result[OBJECTIVE], result[HUMAN_STEPS])
            result = None
        super().on_trial_complete(trial_id, result, error)


class EqualCostASHA(AsyncHyperBandScheduler):
    """ASHA whose time is the person's: at a rung, all trials have cost the same human steps.

    A slice ends somewhere behind a rung; what is compared is the mean success up to the rung
    itself. Trials that ended count at every rung behind their first evaluation. The reference is
    compared, but never pruned: the sweep is held against it.

    Args:
        goal: Of the sweep.
        earlier: Rungs of each trial that an earlier process has run, by number. They count, and are
            not decided again.
        ended: Numbers of those that have ended.

    Attributes:
        pruned: Tune's ids of the trials that were pruned.
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
        )
        self._earlier = dict(earlier)
        self.pruned: set[str] = set()
        for number in ended:
            self.on_trial_add(None, Trial("ended", config={"number": number}, stub=True))

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """They are set already."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Takes in the rungs that a trial has passed."""
        super().on_trial_add(tune_controller, trial)
        self._at_rungs(trial, self._earlier.get(trial.config["number"], ()))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Decides at the rungs that a trial has come to."""
        stop = self._at_rungs(trial, result["rungs"])
        if not stop or trial.config["number"] == REFERENCE:
            return TrialScheduler.CONTINUE
        self.pruned.add(trial.trial_id)
        return TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Takes in the rungs of a trial that has ended, for the others."""
        self._at_rungs(trial, result["rungs"])

    def _at_rungs(self, trial: Trial, rungs: Sequence[Point]) -> bool:
        """Whether a trial is among the worse ones at a rung that it has not been at before."""
        decisions = [
            super(EqualCostASHA, self).on_trial_result(
                None, trial, {HUMAN_STEPS: human_steps, OBJECTIVE: objective}
            )
            for human_steps, objective in rungs
        ]
        return TrialScheduler.STOP in decisions
