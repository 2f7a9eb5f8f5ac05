"""Table I: its figures, its warnings and its forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2hil_rllib.report.comparison.method_table import (
    as_markdown,
    as_numbers,
    as_table,
    method_rows,
    warnings,
)
from e2hil_rllib.report.comparison.statistics import interquartile_mean_estimate
from e2hil_rllib.report.comparison.trials import Comparison, read_comparison
from tests.report.comparisons import result, write_results


def comparison_of(folder: Path, rows: list[dict[str, Any]]) -> Comparison:
    write_results(folder, rows)
    return read_comparison([folder])


def five(method: str, rates: list[float], **values: Any) -> list[dict[str, Any]]:
    return [result(method, seed, rate, **values) for seed, rate in enumerate(rates)]


def test_each_figure_is_the_statistic_of_its_seeds(tmp_path: Path) -> None:
    rates = [0.2, 0.9, 0.7, 0.8, 1.0]
    ours = five("e2hil", rates)
    for row, to_90 in zip(ours, (100, "", "", 300, 200), strict=True):
        row["human_steps_to_90"] = to_90
    rows = method_rows(
        comparison_of(tmp_path, [*ours, *five("hil_serl", [0.5, 0.6, 0.7, 0.1, 0.2])])
    )
    e2hil, hil_serl = rows
    assert e2hil.success == interquartile_mean_estimate([np.array(rates)])
    assert e2hil.success.value == pytest.approx(0.8)
    assert e2hil.human_steps is not None and e2hil.human_steps.value == 402
    assert (e2hil.human_steps_to_90, e2hil.reached_90) == (300, 3)
    assert np.isinf(hil_serl.human_steps_to_90 or 0) and hil_serl.reached_90 == 0
    # Of 25 pairs, 0.2 beats one and ties with one; 0.7 beats four and ties; the others beat all.
    assert e2hil.more_success is not None
    assert e2hil.more_success.value == pytest.approx((1.5 + 4.5 + 15) / 25)
    assert hil_serl.more_success is None and hil_serl.fewer_human_steps is None
    _, cells = as_table(rows)
    assert cells[0][3].startswith("80.0 (") and cells[0][6] == "300 (3 of 5 seeds)"
    assert cells[1][6] == "never (0 of 5 seeds)" and cells[1][7:] == ("", "")


def test_lasting_success_shows_its_cost_and_the_seeds_that_reached_it(tmp_path: Path) -> None:
    ours = [
        result("e2hil", seed, takeovers=40 + seed, evaluations=8, human_steps_to_lasting_90=steps,
               takeovers_to_lasting_90=taken, fell_back=lowest)
        for seed, (steps, taken, lowest) in enumerate(
            [(100, 10, ""), (300, 30, 0.86), (200, 20, 0.5), (400, 40, ""), ("", "", "")]
        )
    ]  # fmt: skip
    never = [result("hil_serl", seed, takeovers=50, evaluations=8) for seed in range(5)]
    unsure = [result("random", seed, takeovers=50, evaluations=8 - 7 * seed) for seed in range(2)]
    rows = method_rows(comparison_of(tmp_path, [*ours, *never, *unsure]))
    e2hil = rows[0]
    assert e2hil.takeovers == interquartile_mean_estimate([np.arange(40.0, 45.0)])
    assert e2hil.to_lasting_90 is not None and e2hil.to_lasting_90.value == 300
    assert e2hil.to_lasting_90.low < 300 and np.isinf(e2hil.to_lasting_90.high)
    assert (e2hil.reached_lasting_90, e2hil.fell_back, e2hil.lowest_after) == (4, 2, 0.5)
    head, cells = as_table(rows)
    table = [dict(zip(head, line, strict=True)) for line in cells]
    lasting = [line["human steps to lasting 90 %"] for line in table]
    assert lasting[0].startswith("300 (") and lasting[0].endswith(" to never), 4 of 5 seeds")
    assert lasting[1:] == ["never, 0 of 5 seeds", ""]
    assert table[0]["takeovers to lasting 90 %"].startswith("30 (")
    assert [line["fell back"] for line in table] == ["2 of 4, to 50 %", "", ""]
    assert [line["takeovers"][:2] for line in table] == ["42", "50", "50"]
    numbers = [dict(zip(as_numbers(rows)[0], line, strict=True)) for line in as_numbers(rows)[1]]
    assert numbers[0]["to_lasting_90"] == "300" and numbers[0]["lowest_after"] == "0.5"
    assert [line["reached_lasting_90"] for line in numbers] == ["4", "0", ""]


def test_unmeasured_columns_are_left_out(tmp_path: Path) -> None:
    head, _ = as_table(method_rows(comparison_of(tmp_path, five("e2hil", [0.5] * 5))))
    assert "takeovers" not in head and "fell back" not in head and len(head) == 9


def test_fewer_human_steps_are_those_of_all_of_training(tmp_path: Path) -> None:
    rows = []
    for method, needed in (
        ("e2hil", (100, 250, 900, 300, 900)),
        ("hil_serl", (200, 300, 400, 500, 900)),
        ("random", (900, 900, 900, 900, 900)),
    ):
        # To 90 %, the other way round: it must not be what is compared.
        to_90 = 100 if method == "hil_serl" else 900
        rows += [
            result(method, seed, human_steps=steps, human_steps_to_90=to_90)
            for seed, steps in enumerate(needed)
        ]
    found = {row.method: row for row in method_rows(comparison_of(tmp_path, rows))}
    e2hil, random = found["e2hil"].fewer_human_steps, found["random"].fewer_human_steps
    # 100 beats five of five, 250 four, 300 three and ties, each 900 ties with one.
    assert e2hil is not None and e2hil.value == pytest.approx((5 + 4 + 3.5 + 2 * 0.5) / 25)
    assert 0 < e2hil.low < e2hil.value < e2hil.high < 1
    assert random is not None and random.value == pytest.approx(5 * 0.5 / 25)
    head, cells = as_table(list(found.values()))
    assert head[8] == "P(fewer human steps than hil_serl)"
    assert cells[0][8].startswith("0.54 (") and cells[1][8] == ""


def test_all_tasks_have_a_row_for_methods_that_were_run_on_all(tmp_path: Path) -> None:
    rows = []
    for task, rate in (("reach", 0.4), ("touch_cube", 0.8)):
        rows += five("e2hil", [rate] * 5, task=task)
        rows += five("hil_serl", [rate] * 5, task=task)
    comparison = comparison_of(tmp_path, [*rows, *five("random", [0.5] * 5)])
    found = {(row.task, row.method): row for row in method_rows(comparison)}
    assert len(found) == 7 and ("all tasks", "random") not in found
    row = found["all tasks", "e2hil"]
    assert row.success.value == pytest.approx(0.6) and row.seeds == 5
    # Drawn within the tasks, every resample is the same.
    assert (row.success.low, row.success.high) == pytest.approx((0.6, 0.6))
    assert row.more_success is not None and row.more_success.value == 0.5
    assert row.fewer_human_steps is not None and row.fewer_human_steps.value == 0.5
    assert row.human_steps is None and row.human_steps_to_90 is None


def test_few_or_uneven_seeds_and_a_missing_baseline_are_warned_of(tmp_path: Path) -> None:
    comparison = comparison_of(tmp_path, [*five("e2hil", [0.5] * 5), result("random", 0)])
    few, uneven, missing = warnings(comparison)
    assert "fewer than 5 seeds on touch_cube (random 1)" in few
    assert "different numbers of seeds on touch_cube: e2hil 5, random 1" in uneven
    assert missing == "touch_cube has no hil_serl to compare with."
    e2hil, single = method_rows(comparison)
    assert e2hil.more_success is None and e2hil.fewer_human_steps is None
    assert np.isnan(single.success.low)
    assert as_table([single])[1][0][3] == "50.0"  # one seed has no interval
    text = as_markdown([single], warnings(comparison))
    assert few in text and "nan" not in text.split("\n\n")[0]
    enough = five("e2hil", [0.5] * 5) + five("hil_serl", [0.5] * 5)
    assert warnings(comparison_of(tmp_path / "b", enough)) == []


def test_every_form_has_as_many_cells_as_heads(tmp_path: Path) -> None:
    rows = method_rows(comparison_of(tmp_path, [result("e2hil", 0), result("hil_serl", 0)]))
    for head, cells in (as_table(rows), as_numbers(rows)):
        assert {len(line) for line in cells} == {len(head)}
    head, cells = as_numbers(rows)
    numbers = dict(zip(head, cells[0], strict=True))
    assert (numbers["success"], numbers["success_low"]) == ("0.5", "")
    assert (numbers["more_success"], numbers["fewer_human_steps"]) == ("0.5", "0.5")
    assert {"more_success_low", "fewer_human_steps_high"} <= set(head)
    lines = as_markdown(rows, []).splitlines()
    assert {line.count("|") for line in lines[:4]} == {10} and lines[1].startswith("| --- |")
