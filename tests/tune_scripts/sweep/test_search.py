"""Search algorithm and scheduler of a sweep, new and resumed."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tests.tune_scripts.selection import ended_trial
from tune_scripts.sweep.search import EqualCostASHA, Points, PointSearch
from tune_scripts.sweep.space import SEARCHED, paper_values
from tune_scripts.sweep.trial import PRUNED, Goal

GOAL = Goal(steps=1000, human_steps=90, slice=500)  # rungs at 10 and 30 human steps


def searching(folder, ended=(), open_numbers=(0,), seed=0) -> PointSearch:
    return PointSearch(Points(folder / "points.json"), ended, open_numbers, seed)


def propose(search: PointSearch, number: int) -> list[dict[str, Any]]:
    return [search.suggest(f"id{n}") for n in range(number)]


def test_the_first_point_is_the_papers_and_all_are_on_disk_before_their_trials_begin(tmp_path):
    search = searching(tmp_path)
    assert search.suggest("a") == {"number": 0, "values": paper_values()}
    second = search.suggest("b")
    assert second["number"] == 1 and second["values"] != paper_values()
    on_disk = json.loads((tmp_path / "points.json").read_text())
    assert on_disk == [paper_values(), second["values"]]
    assert Points(tmp_path / "points.json").all == on_disk
    for searched in SEARCHED:
        value = second["values"][searched.key]
        assert searched.low <= value <= searched.high
        assert type(value) is type(searched.paper)


def test_points_follow_from_the_seed(tmp_path):
    first, again, other = (
        propose(searching(tmp_path / name, seed=seed), 4)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again
    assert first[0] == other[0] and first[1] != other[1]


def test_a_resumed_search_proposes_the_open_points_first_and_then_new_ones(tmp_path):
    before = propose(searching(tmp_path), 4)
    ended = [ended_trial(n, objective=0.1) for n in (0, 2)]
    after = propose(searching(tmp_path, ended, open_numbers=[1, 3]), 5)
    assert after[:2] == [before[1], before[3]]
    assert [point["number"] for point in after[2:]] == [4, 5, 6]
    values = [point["values"] for point in (*before, *after[2:])]
    assert all(values.count(each) == 1 for each in values)
    assert len(json.loads((tmp_path / "points.json").read_text())) == 7


def test_a_resumed_search_knows_the_results_of_earlier_trials(tmp_path):
    ended = [ended_trial(0, objective=0.7), ended_trial(1, ended=PRUNED, human_steps=12)]
    study = searching(tmp_path, ended, open_numbers=[])._ot_study
    assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED"]
    assert study.best_value == 0.7
    assert study.trials[1].intermediate_values == {12: 0.5}
    assert study.trials[0].params == paper_values()


def test_the_objective_of_a_pruned_trial_is_no_value_of_the_study(tmp_path):
    search = searching(tmp_path)
    for name in "abc":
        search.suggest(name)
    result = {"objective": 0.9, "human_steps": 20, "ended": "", "rungs": [], "done": True}
    search.on_trial_result("a", result)
    search.on_trial_complete("a", result)
    search.on_trial_complete("b", result | {"ended": "budget", "objective": 0.4})
    search.on_trial_complete("c", error=True)
    states = [trial.state for trial in search._ot_study.trials]
    kinds = optuna.trial.TrialState
    assert states == [kinds.PRUNED, kinds.COMPLETE, kinds.FAIL]
    assert search._ot_study.best_value == 0.4
    assert search._ot_study.trials[0].intermediate_values == {20: 0.9}


def trial_of(scheduler: EqualCostASHA, number: int) -> Trial:
    trial = Trial("trial", config={"number": number}, stub=True)
    scheduler.on_trial_add(None, trial)
    return trial


def at(*objectives: float, ended: str = "") -> dict[str, Any]:
    """Return a result at the first rungs; its other figures must not count."""
    rungs = list(zip(GOAL.rungs, objectives, strict=False))
    return {"rungs": rungs, "human_steps": 77, "objective": -5.0, "ended": ended}


def decide(scheduler: EqualCostASHA, number: int, *objectives: float) -> str:
    return scheduler.on_trial_result(None, trial_of(scheduler, number), at(*objectives))


def test_at_a_rung_trials_are_compared_by_their_success_up_to_it():
    scheduler = EqualCostASHA(GOAL, {}, [])
    assert decide(scheduler, 1, 0.5) == TrialScheduler.CONTINUE
    assert decide(scheduler, 2, 0.9) == TrialScheduler.CONTINUE
    worse = trial_of(scheduler, 3)
    assert scheduler.on_trial_result(None, worse, at(0.1)) == TrialScheduler.STOP
    assert scheduler.pruned == {worse.trial_id}
    assert decide(scheduler, 4) == TrialScheduler.CONTINUE  # before the first rung


def test_a_rung_is_decided_once_and_a_slice_may_pass_two():
    scheduler = EqualCostASHA(GOAL, {}, [])
    early = trial_of(scheduler, 1)
    assert scheduler.on_trial_result(None, early, at(0.5)) == TrialScheduler.CONTINUE
    for number in range(2, 8):
        decide(scheduler, number, 0.9, 0.9)
    assert scheduler.on_trial_result(None, early, at(0.5)) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, early, at(0.5, 0.1)) == TrialScheduler.STOP
    assert decide(scheduler, 8, 0.95, 0.2) == TrialScheduler.STOP


def test_a_rung_before_the_first_evaluation_is_never_decided():
    scheduler = EqualCostASHA(GOAL, {}, [])
    assert decide(scheduler, 1, 0.9) == TrialScheduler.CONTINUE
    late = trial_of(scheduler, 2)
    second_rung = at() | {"rungs": [(30, 0.2)]}
    for _ in range(3):  # each slice names the rungs again
        assert scheduler.on_trial_result(None, late, second_rung) == TrialScheduler.CONTINUE


def test_the_papers_values_are_compared_but_never_pruned():
    scheduler = EqualCostASHA(GOAL, {}, [])
    decide(scheduler, 1, 0.9)
    assert decide(scheduler, 0, 0.0) == TrialScheduler.CONTINUE
    assert scheduler.pruned == set()


def test_a_trial_that_ended_early_counts_at_the_rungs_and_is_not_pruned():
    scheduler = EqualCostASHA(GOAL, {}, [])
    frugal = trial_of(scheduler, 1)
    scheduler.on_trial_complete(None, frugal, at(0.9, 0.9, ended="budget"))
    assert scheduler.pruned == set()
    assert decide(scheduler, 2, 0.95, 0.5) == TrialScheduler.STOP


def test_a_resumed_scheduler_knows_the_rungs_of_earlier_trials_and_decides_none_again():
    earlier = {1: [(10, 0.9), (30, 0.9)], 2: [(10, 0.1)]}
    scheduler = EqualCostASHA(GOAL, earlier, ended=[1])
    survivor = trial_of(scheduler, 2)
    assert scheduler.on_trial_result(None, survivor, at(0.1)) == TrialScheduler.CONTINUE
    assert decide(scheduler, 3, 0.5) == TrialScheduler.STOP
    assert scheduler.on_trial_result(None, survivor, at(0.1, 0.1)) == TrialScheduler.STOP
    with pytest.raises(KeyError):
        scheduler.on_trial_result(None, Trial("trial", config={"number": 9}, stub=True), at(0.5))
