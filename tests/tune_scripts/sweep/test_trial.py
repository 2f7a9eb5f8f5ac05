"""Progress of a trial of a sweep, read from its run folder."""

from __future__ import annotations

import pytest

from e2hil_rllib.run.run_folder import RunFolder
from tests.tune_scripts.selection import evaluated_run
from tune_scripts.sweep.trial import (
    BUDGET,
    HUMAN_STEPS_SPENT,
    Goal,
    Standing,
    UnknownSuccessError,
    run_dir,
    standing_of,
)

GOAL = Goal(steps=1000, human_steps=90, slice=500)  # rungs at 10 and 30 human steps
HALF, ALL, NONE = (True, False), (True, True), (False, False)


def test_rungs_lie_below_the_human_steps_that_are_compared():
    assert GOAL.rungs == [10, 30]
    assert Goal(4000, 1000, 500).rungs == [112, 336]
    assert Goal(4000, 1, 500).rungs == []
    assert Goal(4000, 3, 500).rungs == [1]


def test_a_new_trial_has_no_progress(tmp_path):
    nowhere = Standing(0, 0, 0.0, 0.0, [], "")
    assert standing_of(RunFolder(tmp_path / "new"), GOAL) == nowhere


def test_an_unfinished_trial_counts_over_the_human_steps_it_spent(tmp_path):
    run = evaluated_run(tmp_path, [(500, 20, HALF)], checkpoint=500)
    assert standing_of(run, GOAL) == Standing(500, 20, 0.5, 0.0, [], "")
    run = evaluated_run(tmp_path, [(500, 20, HALF), (700, 40, ALL)], checkpoint=700)
    standing = standing_of(run, GOAL)
    assert (standing.objective, standing.ended) == (20 * 0.5 / 40, "")
    # At 10 human steps nobody had looked at what the policy does.
    assert standing.rungs == [(30, pytest.approx(10 * 0.5 / 30))]


def test_a_policy_that_no_longer_needs_the_person_ends_at_the_budget_past_every_rung(tmp_path):
    run = evaluated_run(tmp_path, [(500, 5, HALF), (1017, 5, ALL)], checkpoint=1017)
    standing = standing_of(run, GOAL)
    assert (standing.ended, standing.human_steps, standing.success_rate) == (BUDGET, 5, 1.0)
    assert standing.objective == pytest.approx(85 / 90)
    assert standing.rungs == [(10, 0.5), (30, pytest.approx(25 / 30))]


def test_without_human_steps_the_objective_is_the_last_success(tmp_path):
    run = evaluated_run(tmp_path, [(500, 0, HALF)], checkpoint=500)
    assert standing_of(run, GOAL) == Standing(500, 0, 0.5, 0.5, [], "")


def test_a_trial_ends_once_the_human_steps_are_spent(tmp_path):
    run = evaluated_run(tmp_path, [(500, 45, HALF), (700, 120, ALL)], checkpoint=700)
    standing = standing_of(run, GOAL)
    assert (standing.ended, standing.objective) == (HUMAN_STEPS_SPENT, 0.25)
    assert standing.rungs == []
    run = evaluated_run(tmp_path, [(500, 9, NONE), (700, 120, ALL)], checkpoint=700)
    assert standing_of(run, GOAL).rungs == [(10, 0.0), (30, 0.0)]


def test_an_evaluation_after_the_last_checkpoint_does_not_count(tmp_path):
    run = evaluated_run(tmp_path, [(500, 20, HALF), (1000, 100, ALL)], checkpoint=900)
    assert standing_of(run, GOAL) == Standing(500, 20, 0.5, 0.0, [], "")


def test_an_evaluation_without_success_is_refused(tmp_path):
    run = evaluated_run(tmp_path, [(500, 20, (None, None))], checkpoint=500)
    with pytest.raises(UnknownSuccessError, match="no success at step 500"):
        standing_of(run, GOAL)


def test_run_folders_are_named_by_number():
    assert run_dir(7) == "trials/trial_007"
