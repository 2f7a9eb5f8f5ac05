"""Success at equal human cost, of trials whose curves are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2hil_rllib.report.comparison.trials import read_comparison
from tests.report.comparisons import result, write_results
from tune_scripts.publish.equal_cost import equal_cost


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


def test_where_a_trial_had_not_been_evaluated_nothing_is_compared(tmp_path: Path) -> None:
    """Its success there is not known; 0 would stand for a policy that may be good."""
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
