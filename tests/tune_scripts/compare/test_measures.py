"""Measures of a run."""

from __future__ import annotations

import pytest

from e2hil_rllib.data.episodes import DamagedEpisodeError
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode, first_lasting, write_evaluations
from e2hil_rllib.run.progress import STEP, write_rows
from e2hil_rllib.run.run_folder import RunFolder
from tests.report.runs import add_episode, damage
from tune_scripts.compare.measures import (
    SUCCESS_GOAL,
    MeasureError,
    human_steps_to_goal,
    measure,
    training_episodes,
)

LED, ALONE, FAILED = (5, True), (0, True), (0, False)


@pytest.mark.parametrize(
    ("episodes", "expected"),
    [
        ([], None),
        ([ALONE] * 19, None),
        ([ALONE] * 20, 0),
        ([LED] * 20, None),
        ([LED] * 3 + [ALONE] * 20, 15),  # two led ones are still among the last 20: 18 of 20
        ([LED] * 3 + [ALONE] * 17 + [LED] + [ALONE] * 20, 20),
        ([LED] * 3 + [ALONE] * 18 + [LED] * 50, 15),  # what comes after does not count
        ([FAILED] * 30 + [ALONE] * 18, 0),
        ([FAILED] * 30 + [ALONE] * 17, None),
    ],
)
def test_human_steps_until_90_percent_of_the_last_20_episodes_succeed_alone(episodes, expected):
    assert human_steps_to_goal(episodes) == expected


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([], None),
        ([0.9, 1.0], None),
        ([0.9, 0.9, 0.9], 0),
        ([0.0, 0.92, 0.88, 0.9, 0.94, 0.96], 3),
        ([0.9, 0.9, 0.88, 0.9, 0.9], None),
        ([0.5, 1.0, 1.0, 1.0, 0.2], 1),  # what comes after does not count
    ],
)
def test_success_holds_from_the_first_of_three_evaluations_in_a_row(rates, expected):
    assert first_lasting(rates, SUCCESS_GOAL) == expected


def evaluated_run(folder, rates, taken=True):
    """A run with a row each 20 steps, and an evaluation of ten episodes after each of them."""
    run = RunFolder(folder)
    steps = [20 * (number + 1) for number in range(len(rates))]
    rows = [{STEP: float(s), "num_human_steps_lifetime": s / 2, "num_updates_lifetime": 1.0}
            | ({"num_takeovers_lifetime": s / 10} if taken else {}) for s in steps]  # fmt: skip
    write_rows(run.progress, rows)
    write_evaluations(
        run.evaluation,
        [
            EvaluatedEpisode(step, seed, seed < 10 * rate, 5, 1.0)
            for step, rate in zip(steps, rates, strict=True)
            for seed in range(10)
        ],
    )
    return run


def test_human_steps_and_takeovers_until_success_alone_holds(tmp_path):
    measures = measure(evaluated_run(tmp_path, [0.5, 0.9, 1.0, 1.0, 0.7, 0.8]))
    assert (measures.human_steps_to_lasting_90, measures.takeovers_to_lasting_90) == (20, 4)
    assert (measures.takeovers, measures.fell_back, measures.evaluations) == (12, 0.7, 6)


def test_success_that_never_held_or_never_fell_back_has_no_figure(tmp_path):
    never = measure(evaluated_run(tmp_path / "never", [0.9, 0.9, 0.5]))
    assert (never.human_steps_to_lasting_90, never.takeovers_to_lasting_90) == (None, None)
    assert never.fell_back is None and never.takeovers == 6
    held = measure(evaluated_run(tmp_path / "held", [1.0, 0.9, 1.0, 1.0]))
    assert (held.human_steps_to_lasting_90, held.fell_back) == (10, None)


def test_a_run_without_counted_takeovers_has_none(tmp_path):
    measures = measure(evaluated_run(tmp_path, [1.0, 1.0, 1.0], taken=False))
    assert (measures.human_steps_to_lasting_90, measures.takeovers_to_lasting_90) == (10, None)
    assert measures.takeovers is None


def test_an_evaluation_counts_the_steps_up_to_it(tmp_path):
    def evaluate(*steps):
        of_steps = [EvaluatedEpisode(step, n, True, 5, 1.0) for step in steps for n in range(2)]
        write_evaluations(run.evaluation, of_steps)

    run = evaluated_run(tmp_path, [1.0, 1.0, 1.0])
    evaluate(0, 20, 60)  # the untrained policy as well
    assert measure(run).human_steps_to_lasting_90 == 0
    evaluate(30, 50, 60)  # between rows, as evaluations of checkpoints are
    assert measure(run).human_steps_to_lasting_90 == 10


def finished_run(folder, success=(True, True, True, False)):
    run = RunFolder(folder)
    for step in (20, 40):
        figures = {"num_human_steps_lifetime": step / 4, "num_updates_lifetime": 2.0 * step}
        rows = [
            {STEP: float(s), "time_this_iter_s": 1.5} | figures for s in range(20, step + 1, 20)
        ]
    write_rows(run.progress, rows)
    episodes = [
        EvaluatedEpisode(step=40, seed=n, success=done, steps=5, episode_return=1.0)
        for n, done in enumerate(success)
    ]
    earlier = EvaluatedEpisode(step=20, seed=0, success=False, steps=5, episode_return=0.0)
    write_evaluations(run.evaluation, [earlier, *episodes])
    for number in range(3):
        add_episode(run.episodes, number, 10, human=(2, 3) if number == 1 else ())
    return run


def test_a_finished_run_is_measured(tmp_path):
    measures = measure(finished_run(tmp_path))
    assert (measures.steps, measures.human_steps, measures.intervention_rate) == (40, 10, 0.25)
    assert (measures.success_rate, measures.evaluation_episodes) == (0.75, 4)
    assert measures.success_low == pytest.approx(0.3006, abs=1e-3)
    assert measures.success_high == pytest.approx(0.9544, abs=1e-3)
    assert (measures.episodes, measures.updates, measures.wall_seconds) == (3, 80, 3.0)
    assert measures.human_steps_to_90 is None


def test_without_success_of_the_environment_there_is_no_rate(tmp_path):
    measures = measure(finished_run(tmp_path, success=(None, None)))
    assert (measures.success_rate, measures.success_low, measures.success_high) == (None,) * 3
    assert measures.evaluation_episodes == 2


def test_episodes_are_read_in_their_order_without_frames(tmp_path):
    run = finished_run(tmp_path)
    assert list(training_episodes(run)) == [(0, True), (2, False), (0, True)]
    damage(run.episodes / "episode_000001.parquet")
    with pytest.raises(DamagedEpisodeError, match="episode_000001"):
        list(training_episodes(run))


def test_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(MeasureError, match="has no row"):
        measure(RunFolder(tmp_path))
    run = finished_run(tmp_path)
    write_evaluations(run.evaluation, [])
    with pytest.raises(MeasureError, match="no episode at step 40"):
        measure(run)
