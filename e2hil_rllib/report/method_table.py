"""Table I: success and human cost of each method on each task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from e2hil_rllib.report.page import Table
from e2hil_rllib.report.statistics import (
    FEWEST_SEEDS,
    Estimate,
    interquartile_mean_estimate,
    probability_of_improvement,
)
from e2hil_rllib.report.trials import Comparison, Trial

#: Whom the others are compared with.
BASELINE = "hil_serl"
ALL_TASKS = "all tasks"

_HEAD = (
    "task",
    "method",
    "seeds",
    "success [%]",
    "interventions [% of steps]",
    "human steps",
    "human steps to 90 %",
    f"P(more success than {BASELINE})",
    f"P(fewer human steps than {BASELINE})",
)
EXPLANATION = (
    "Interquartile mean over seeds with its 95 % interval (percentile bootstrap, stratified over "
    "tasks). Success: deterministic evaluation without the operator, at the end of training. "
    "Human steps: in training, without demonstrations; to 90 %: until 90 % of the last 20 episodes "
    "of training succeeded without one, median over seeds, of which those that never got there "
    "count as infinite. P(more success): "
    f"chance that a seed succeeds more often than one of {BASELINE}. P(fewer human steps): chance "
    "that it needed fewer human steps in all of training than one (to 90 % would be no such "
    "measure: a policy that got there may fall back). Both: Mann-Whitney, a tie counts half."
)


@dataclass(frozen=True)
class MethodRow:
    """A method on a task, or on all of them.

    Attributes:
        task: The task, or `ALL_TASKS`.
        method: The method.
        seeds: Of each task; the fewest, where there are several tasks.
        success: 0 to 1.
        interventions: Of steps, 0 to 1.
        human_steps: In training; None over all tasks, whose lengths differ.
        human_steps_to_90: Median; infinite if at least half of the seeds never got there. None
            over all tasks.
        reached_90: Seeds that got there.
        more_success: Chance to succeed more often than the baseline; None for itself or without it.
        fewer_human_steps: Chance to need fewer human steps in training than the baseline; the same.
    """

    task: str
    method: str
    seeds: int
    success: Estimate
    interventions: Estimate
    human_steps: Estimate | None
    human_steps_to_90: float | None
    reached_90: int
    more_success: Estimate | None
    fewer_human_steps: Estimate | None


def method_rows(comparison: Comparison) -> list[MethodRow]:
    """A row for each task and method; then one for each method that was run on all tasks."""
    rows = []
    for task in comparison.tasks:
        for method in comparison.methods:
            if trials := comparison.of(task, method):
                rows.append(_row(task, method, [trials], [comparison.of(task, BASELINE)]))
    if len(comparison.tasks) > 1:
        for method in comparison.methods:
            groups = [comparison.of(task, method) for task in comparison.tasks]
            if all(groups):
                baseline = [comparison.of(task, BASELINE) for task in comparison.tasks]
                rows.append(_row(ALL_TASKS, method, groups, baseline))
    return rows


def warnings(comparison: Comparison) -> list[str]:
    """What a reader has to know before trusting the table."""
    found = []
    for task in comparison.tasks:
        few = {m: len(comparison.of(task, m)) for m in comparison.methods}
        named = [f"{method} {seeds}" for method, seeds in few.items() if 0 < seeds < FEWEST_SEEDS]
        if named:
            found.append(
                f"Warning: fewer than {FEWEST_SEEDS} seeds on {task} ({', '.join(named)}): the "
                "intervals are too short and say little; a single seed has none."
            )
        if len(set(few.values()) - {0}) > 1:
            numbers = ", ".join(f"{method} {seeds}" for method, seeds in few.items())
            found.append(f"Warning: methods have different numbers of seeds on {task}: {numbers}.")
        if not few.get(BASELINE):
            found.append(f"{task} has no {BASELINE} to compare with.")
    return found


def as_table(rows: Sequence[MethodRow]) -> Table:
    """Head and cells, for people."""
    cells = [
        (
            row.task,
            row.method,
            str(row.seeds),
            _percent(row.success),
            _percent(row.interventions),
            "" if row.human_steps is None else _with_interval(row.human_steps, "{:.0f}"),
            _to_90(row),
            _chance(row.more_success),
            _chance(row.fewer_human_steps),
        )
        for row in rows
    ]
    return _HEAD, cells


def as_markdown(rows: Sequence[MethodRow], notes: Sequence[str], explained: bool = True) -> str:
    """The table for a README, with what has to be said of it.

    Args:
        rows: Of the table.
        notes: Paragraphs below it.
        explained: Whether the first of them says what the columns are.
    """
    head, cells = as_table(rows)
    rule = ["---"] * 2 + ["---:"] * (len(head) - 2)
    lines = [f"| {' | '.join(line)} |" for line in (head, rule, *cells)]
    paragraphs = [EXPLANATION, *notes] if explained else notes
    return "\n".join([*lines, *(f"\n{text}" for text in paragraphs), ""])


def as_numbers(rows: Sequence[MethodRow]) -> Table:
    """Head and cells, for programs: a column a number, empty where there is none."""
    estimates = ("success", "interventions", "human_steps", "more_success", "fewer_human_steps")
    head = ["task", "method", "seeds"]
    for name in estimates:
        head += [name, f"{name}_low", f"{name}_high"]
    head += ["human_steps_to_90", "reached_90"]
    cells = []
    for row in rows:
        line = [row.task, row.method, str(row.seeds)]
        for name in estimates:
            e = getattr(row, name) or Estimate(math.nan)
            line += [_number(e.value), _number(e.low), _number(e.high)]
        to_90 = math.nan if row.human_steps_to_90 is None else row.human_steps_to_90
        cells.append([*line, _number(to_90), str(row.reached_90)])
    return head, cells


def _row(
    task: str, method: str, groups: Sequence[list[Trial]], baseline: Sequence[list[Trial]]
) -> MethodRow:
    def estimate(name: str) -> Estimate:
        return interquartile_mean_estimate(_values(groups, name))

    def chance(name: str, sign: int) -> Estimate | None:
        if method == BASELINE or not all(baseline):
            return None
        ours, theirs = _values(groups, name), _values(baseline, name)
        return probability_of_improvement([sign * x for x in ours], [sign * y for y in theirs])

    to_90 = np.concatenate(_values(groups, "human_steps_to_90"))
    single = len(groups) == 1
    return MethodRow(
        task,
        method,
        min(len(group) for group in groups),
        estimate("success_rate"),
        estimate("intervention_rate"),
        estimate("human_steps") if single else None,
        float(np.median(to_90)) if single else None,
        int(np.isfinite(to_90).sum()),
        chance("success_rate", 1),
        chance("human_steps", -1),
    )


def _values(groups: Sequence[list[Trial]], name: str) -> list[np.ndarray]:
    return [np.array([getattr(trial, name) for trial in group], float) for group in groups]


def _to_90(row: MethodRow) -> str:
    if row.human_steps_to_90 is None:
        return ""
    median = f"{row.human_steps_to_90:.0f}" if math.isfinite(row.human_steps_to_90) else "never"
    return f"{median} ({row.reached_90} of {row.seeds} seeds)"


def _chance(estimate: Estimate | None) -> str:
    return "" if estimate is None else _with_interval(estimate, "{:.2f}")


def _percent(estimate: Estimate) -> str:
    scaled = Estimate(*(100 * v for v in (estimate.value, estimate.low, estimate.high)))
    return _with_interval(scaled, "{:.1f}")


def _with_interval(estimate: Estimate, form: str) -> str:
    value = form.format(estimate.value)
    if math.isnan(estimate.low):
        return value
    return f"{value} ({form.format(estimate.low)} to {form.format(estimate.high)})"


def _number(value: float) -> str:
    return "" if not math.isfinite(value) else f"{value:.6g}"
