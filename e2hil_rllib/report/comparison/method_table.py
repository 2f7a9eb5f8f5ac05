"""Table I: success and human cost of each method on each task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from e2hil_rllib.report.comparison.statistics import (
    FEWEST_SEEDS,
    Estimate,
    interquartile_mean_estimate,
    probability_of_improvement,
)
from e2hil_rllib.report.comparison.trials import Comparison, Trial
from e2hil_rllib.report.page import Table
from e2hil_rllib.run.evaluation_log import LASTING_EVALUATIONS

BASELINE = "hil_serl"
"""Method that the others are compared with."""

ALL_TASKS = "all tasks"

_HEAD = (
    "task",
    "method",
    "seeds",
    "success [%]",
    "interventions [% of steps]",
    "human steps",
    "human steps to 90 %",
    "takeovers",
    "human steps to lasting 90 %",
    "takeovers to lasting 90 %",
    "fell back",
    f"P(more success than {BASELINE})",
    f"P(fewer human steps than {BASELINE})",
)
_MAY_BE_LEFT_OUT = _HEAD[_HEAD.index("takeovers") : _HEAD.index("fell back") + 1]
EXPLANATION = (
    "Interquartile mean over seeds with its 95 % interval (percentile bootstrap, stratified over "
    "tasks). Success: deterministic evaluation without the operator, at the end of training. "
    "Human steps: in training, without demonstrations; to 90 %: until 90 % of the last 20 episodes "
    "of training succeeded without one, median over seeds, of which those that never got there "
    "count as infinite. Takeovers: changes of control to the human. To lasting 90 %: until the "
    f"first of {LASTING_EVALUATIONS} consecutive evaluations with 90 % or more; those that never "
    "got there count as infinite, too. Fell back: how many of those that did were evaluated below "
    "90 % later, and the lowest success then. Columns that nobody measured are left out. "
    "P(more success): "
    f"chance that a seed succeeds more often than one of {BASELINE}. P(fewer human steps): chance "
    "that it needed fewer human steps in all of training than one (to 90 % would be no such "
    "measure: a policy that got there may fall back). Both: Mann-Whitney, a tie counts half."
)


@dataclass(frozen=True)
class MethodRow:
    """Method on a task, or on all of them.

    Attributes:
        task: Name of the task, or ``ALL_TASKS``.
        method: Name of the method.
        seeds: Number of seeds; the smallest, where there are several tasks.
        success: Success rate, 0 to 1.
        interventions: Share of steps led by the human, 0 to 1.
        human_steps: Human steps of training; None over all tasks, whose lengths differ.
        human_steps_to_90: Median of the human steps to 90 %; infinite if at least half of the
            seeds never got there. None over all tasks.
        reached_90: Number of seeds that got there.
        takeovers: Takeovers in training; None over all tasks, or where a seed's were not counted.
        to_lasting_90: Human steps until success alone held; infinite where it never did. None over
            all tasks, or where a seed was not evaluated often enough to tell.
        takeovers_to_lasting_90: Takeovers until then.
        reached_lasting_90: Number of seeds in which it held; None as ``to_lasting_90``.
        fell_back: Number of these seeds that fell below 90 % later; None as ``to_lasting_90``.
        lowest_after: Lowest success of these; NaN without one.
        more_success: Chance to succeed more often than the baseline; None for itself or without it.
        fewer_human_steps: Chance to need fewer human steps in training than the baseline; None for
            itself or without it.
    """

    task: str
    method: str
    seeds: int
    success: Estimate
    interventions: Estimate
    human_steps: Estimate | None
    human_steps_to_90: float | None
    reached_90: int
    takeovers: Estimate | None
    to_lasting_90: Estimate | None
    takeovers_to_lasting_90: Estimate | None
    reached_lasting_90: int | None
    fell_back: int | None
    lowest_after: float
    more_success: Estimate | None
    fewer_human_steps: Estimate | None


def method_rows(comparison: Comparison) -> list[MethodRow]:
    """Return a row for each task and method, then one for each method that was run on all tasks."""
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
    """Return caveats for the reader of the table."""
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
    """Return head and cells for people, without empty columns."""
    cells = [
        (
            row.task,
            row.method,
            str(row.seeds),
            _percent(row.success),
            _percent(row.interventions),
            _count(row.human_steps),
            _to_90(row),
            _count(row.takeovers),
            _to_lasting_90(row),
            _count(row.takeovers_to_lasting_90),
            _fell_back(row),
            _chance(row.more_success),
            _chance(row.fewer_human_steps),
        )
        for row in rows
    ]
    shown = [
        index for index, name in enumerate(_HEAD)
        if name not in _MAY_BE_LEFT_OUT or any(line[index] for line in cells)
    ]  # fmt: skip
    kept = [tuple(line[index] for index in shown) for line in (_HEAD, *cells)]
    return kept[0], kept[1:]


def as_markdown(rows: Sequence[MethodRow], notes: Sequence[str], explained: bool = True) -> str:
    """Return the table as Markdown, with notes.

    Args:
        rows: Rows of the table.
        notes: Paragraphs below it.
        explained: Whether an explanation of the columns precedes the notes.
    """
    head, cells = as_table(rows)
    rule = ["---"] * 2 + ["---:"] * (len(head) - 2)
    lines = [f"| {' | '.join(line)} |" for line in (head, rule, *cells)]
    paragraphs = [EXPLANATION, *notes] if explained else notes
    return "\n".join([*lines, *(f"\n{text}" for text in paragraphs), ""])


def as_numbers(rows: Sequence[MethodRow]) -> Table:
    """Return head and cells for programs: a number in each column, empty where there is none."""
    estimates = (
        "success", "interventions", "human_steps", "more_success", "fewer_human_steps",
        "takeovers", "to_lasting_90", "takeovers_to_lasting_90",
    )  # fmt: skip
    counts = ("reached_lasting_90", "fell_back")
    head = ["task", "method", "seeds"]
    for name in estimates:
        head += [name, f"{name}_low", f"{name}_high"]
    head += ["human_steps_to_90", "reached_90", *counts, "lowest_after"]
    cells = []
    for row in rows:
        line = [row.task, row.method, str(row.seeds)]
        for name in estimates:
            e = getattr(row, name) or Estimate(math.nan)
            line += [_number(e.value), _number(e.low), _number(e.high)]
        to_90 = math.nan if row.human_steps_to_90 is None else row.human_steps_to_90
        line += [_number(to_90), str(row.reached_90)]
        line += ["" if getattr(row, name) is None else str(getattr(row, name)) for name in counts]
        cells.append([*line, _number(row.lowest_after)])
    return head, cells


def _row(
    task: str, method: str, groups: Sequence[list[Trial]], baseline: Sequence[list[Trial]]
) -> MethodRow:
    def estimate(name: str) -> Estimate:
        return interquartile_mean_estimate(_values(groups, name))

    def known(name: str) -> Estimate | None:
        """Return the estimate of one task if every seed has a value; infinite ones got nowhere."""
        if not single or np.isnan(_values(groups, name)[0]).any():
            return None
        return interquartile_mean_estimate(_values(groups, name), infinite=True)

    def chance(name: str, sign: int) -> Estimate | None:
        if method == BASELINE or not all(baseline):
            return None
        ours, theirs = _values(groups, name), _values(baseline, name)
        return probability_of_improvement([sign * x for x in ours], [sign * y for y in theirs])

    single = len(groups) == 1
    to_90 = np.concatenate(_values(groups, "human_steps_to_90"))
    lasting = known("human_steps_to_lasting_90")
    held = [trial for trial in groups[0] if math.isfinite(trial.human_steps_to_lasting_90)]
    fell = [trial.fell_back for trial in held if math.isfinite(trial.fell_back)]
    return MethodRow(
        task,
        method,
        min(len(group) for group in groups),
        estimate("success_rate"),
        estimate("intervention_rate"),
        estimate("human_steps") if single else None,
        float(np.median(to_90)) if single else None,
        int(np.isfinite(to_90).sum()),
        known("takeovers"),
        lasting,
        known("takeovers_to_lasting_90"),
        None if lasting is None else len(held),
        None if lasting is None else len(fell),
        min(fell) if lasting is not None and fell else math.nan,
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


def _to_lasting_90(row: MethodRow) -> str:
    if row.to_lasting_90 is None:
        return ""
    return f"{_count(row.to_lasting_90)}, {row.reached_lasting_90} of {row.seeds} seeds"


def _fell_back(row: MethodRow) -> str:
    if not row.reached_lasting_90:
        return ""
    lowest = f", to {100 * row.lowest_after:.0f} %" if row.fell_back else ""
    return f"{row.fell_back} of {row.reached_lasting_90}{lowest}"


def _count(estimate: Estimate | None) -> str:
    return "" if estimate is None else _with_interval(estimate, "{:.0f}")


def _chance(estimate: Estimate | None) -> str:
    return "" if estimate is None else _with_interval(estimate, "{:.2f}")


def _percent(estimate: Estimate) -> str:
    scaled = Estimate(*(100 * v for v in (estimate.value, estimate.low, estimate.high)))
    return _with_interval(scaled, "{:.1f}")


def _with_interval(estimate: Estimate, form: str) -> str:
    value, low, high = (
        "never" if math.isinf(number) else form.format(number)
        for number in (estimate.value, estimate.low, estimate.high)
    )
    if math.isnan(estimate.low) or low == "never":
        return value
    return f"{value} ({low} to {high})"


def _number(value: float) -> str:
    return "" if not math.isfinite(value) else f"{value:.6g}"
