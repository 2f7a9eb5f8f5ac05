"""Thin curves of published trials, and success at equal human cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from e2hil_rllib.method.losses import actor_loss
from e2hil_rllib.report.comparison.trials import read_comparison
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode
from e2hil_rllib.run.progress import STEP
from tests.report.comparisons import result, whole_comparison, write_results
from tune_scripts.publish.curves import CURVE_COLUMNS, curve_points, curves, equal_cost, policy_q

ALONE = "env_runners/autonomous_success_rate"


def evaluated(step: int, *success: bool | None) -> list[EvaluatedEpisode]:
    return [EvaluatedEpisode(step, seed, one, 20, 1.0) for seed, one in enumerate(success)]


def test_a_trial_is_kept_at_its_evaluations_and_at_the_first_row_of_each_500_steps() -> None:
    steps = [130, 260, 390, 520, 650, 780, 910, 1040, 1170, 2300]
    rows = [
        {
            STEP: float(s),
            "num_human_steps_lifetime": float(s // 10),
            "num_takeovers_lifetime": float(s // 65),
        }
        for s in steps
    ]
    rows[3][ALONE] = 1 / 3
    points = curve_points(rows, [*evaluated(910, True, False), *evaluated(2400, True, None)])
    assert [(p["step"], p["human_steps"], p["evaluation_success"]) for p in points] == [
        ("520", "52", ""), ("910", "91", "0.5"), ("1040", "104", ""), ("2300", "230", ""),
        ("2400", "", "1"),
    ]  # fmt: skip
    assert [p["takeovers"] for p in points] == ["8", "14", "16", "35", ""]
    assert curve_points([], evaluated(0, True))[0]["takeovers"] == "0"
    assert [p["training_success_alone"] for p in points][:2] == ["0.333333", ""]


def test_policy_q_is_recovered_from_the_actors_loss():
    """Against the loss itself: α log π − Q, whose mean is −α H − Q."""
    log_prob, q = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.9, 1.2, 0.6])
    row = {
        "learners/default_policy/actor_loss": actor_loss(log_prob, q, 0.2).item(),
        "learners/default_policy/temperature": 0.2,
        "learners/default_policy/policy_entropy": -log_prob.mean().item(),
    }
    assert policy_q(row) == pytest.approx(q.mean().item())
    assert policy_q({}) is None


def test_every_trial_has_its_rows_and_an_unreadable_one_is_noted(tmp_path) -> None:
    folder = whole_comparison(tmp_path, ["touch_cube"], ["e2hil", "hil_serl"], 2)
    trials = read_comparison([folder]).trials
    notes: list[str] = []
    rows = curves(trials, notes)
    assert notes == [] and {tuple(row) for row in rows} == {CURVE_COLUMNS}
    assert len(rows) == 4 * 12  # 500 to 4000, and evaluations at 800, 1600, 2400 and 3200
    assert all(row["policy_entropy"] and row["temperature"] for row in rows)
    trials[0].run.progress.unlink()
    trials[1].run.evaluation.write_text("step\n1\n")
    fewer = curves([dataclasses.replace(trial) for trial in trials], notes)
    assert fewer == [row for row in rows if row["method"] == "hil_serl"]
    assert [note.split(":")[0] for note in notes] == [
        f"No curves of touch_cube, e2hil, seed {seed}" for seed in (0, 1)
    ]


def curve(method: str, seed: int, points: list[tuple[float, float]]) -> list[dict[str, str]]:
    rows = [
        {"task": "touch_cube", "method": method, "seed": str(seed), "human_steps": f"{h:g}",
         "evaluation_success": f"{s:g}"} for h, s in points
    ]  # fmt: skip
    return [*rows, {**rows[0], "evaluation_success": ""}]  # a row between evaluations


def test_methods_are_compared_where_they_cost_the_same(tmp_path: Path) -> None:
    rows, points = [], []
    for seed in range(5):
        rows += [
            result("hil_serl", seed, human_steps=400), result("e2hil", seed, human_steps=100)
        ]  # fmt: skip
        points += curve("hil_serl", seed, [(0, 0.0), (200, 0.5), (400, 1.0)])
        points += curve("e2hil", seed, [(0, 0.0), (50, 0.2), (100, 0.8)])
    write_results(tmp_path, rows)
    notes: list[str] = []
    made = equal_cost(read_comparison([tmp_path]), points, notes)
    found = {(row["method"], row["human_steps"]): row for row in made}
    assert notes == []
    assert set(found) == {(m, h) for m in ("e2hil", "hil_serl") for h in ("200", "400")}
    assert [found["hil_serl", h]["success"] for h in ("200", "400")] == ["0.5", "1"]
    assert float(found["hil_serl", "400"]["mean_success"]) == pytest.approx(0.5 * 200 / 400)
    # It needs the person no longer after 100 steps: its last success stands for the rest.
    assert found["e2hil", "400"]["success"] == "0.8"
    mean = (50 * 0.2 + 300 * 0.8) / 400
    assert float(found["e2hil", "400"]["mean_success"]) == pytest.approx(mean)
    assert found["e2hil", "400"]["more_than_baseline"] == "1"
    assert found["hil_serl", "400"]["more_than_baseline"] == ""


def test_without_the_baseline_there_is_no_cost_to_compare_at(tmp_path: Path) -> None:
    write_results(tmp_path, [result("e2hil", seed) for seed in range(5)])
    assert equal_cost(read_comparison([tmp_path]), curve("e2hil", 0, [(0, 1)]), []) == []


def test_a_cost_before_a_trials_first_evaluation_has_no_rows(tmp_path: Path) -> None:
    """Its success there is unknown; 0 would be wrong for a good policy."""
    write_results(tmp_path, [result("hil_serl", seed, human_steps=400) for seed in range(5)])
    points = [p for seed in range(4) for p in curve("hil_serl", seed, [(0, 0.0), (300, 1.0)])]
    comparison = read_comparison([tmp_path])
    for first, costs in ((0, ["200", "400"]), (201, ["400"]), (401, [])):
        notes: list[str] = []
        rows = equal_cost(comparison, [*points, *curve("hil_serl", 4, [(first, 0.5)])], notes)
        assert [row["human_steps"] for row in rows] == costs
        assert len(notes) == 2 - len(costs)
        assert all("1 trials had spent before their first evaluation" in note for note in notes)


def test_a_trial_without_curves_is_left_out(tmp_path: Path) -> None:
    write_results(tmp_path, [result("hil_serl", seed, human_steps=400) for seed in range(5)])
    points = curve("hil_serl", 0, [(0, 1.0)])
    rows = equal_cost(read_comparison([tmp_path]), points, [])
    assert [(row["seeds"], row["success"]) for row in rows] == [("1", "1"), ("1", "1")]
