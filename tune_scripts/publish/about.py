"""What ABOUT.md says of published results: where they come from and what each file is."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2hil_rllib.report.comparison.trials import ERRORS, RESULTS
from tune_scripts.publish.curves import EVERY

ABOUT = "ABOUT.md"
NO_TABLE = "table: no"
"""A line of ABOUT.md: results/README.md is to have no table of these results."""

_CPU_INFO = Path("/proc/cpuinfo")

_FILES = {
    RESULTS: "A row for each finished trial; `compare/results.py` describes the columns",
    ERRORS: "A row for each trial that failed",
    "comparison.csv": "Table I: figures of each method with the ends of their 95 % intervals",
    "influence_by_source.csv": "Table II: magnitude of c of logged samples by method and source",
    "curves.csv": f"Each trial at its evaluations and every {EVERY} steps: success of the "
    "evaluation, human steps and takeovers so far, share of the last 100 training episodes that "
    "succeeded without a human step, entropy of the policy [nats], temperature, mean Q "
    "of the policy's actions",
    "equal_cost.csv": "Success of the evaluations at equal human cost: at half and at all of the "
    "human steps that the median hil_serl trial used, and its mean up to there",
    "fig4_curves_*.png": "Success, interventions and entropy over training (the paper's Figure 4)",
    "fig5_entropy_change_*.png": "Predicted and measured change of entropy (Figure 5, left)",
    "fig5_influence_*.png": "Magnitude of c by source (Figure 5, right)",
    "fig6_workspace_*.png": "Where pruned and kept samples lie (Figure 6)",
}


@dataclass(frozen=True)
class About:
    """What is known of published results.

    Attributes:
        name: Of their folder.
        date: When they were published, ISO 8601.
        commands: That made them, each with when and by which code, as far as that is known.
        code_versions: Of the results.
        trials: Finished ones.
        notes: What a reader has to know before trusting them.
        has_table: Whether results/README.md has a table of them.
    """

    name: str
    date: str
    commands: Sequence[str]
    code_versions: Sequence[str]
    trials: int
    notes: Sequence[str]
    has_table: bool

    def to_markdown(self, folder: Path) -> str:
        """The whole text.

        Args:
            folder: Of the results, with all other files in it.
        """
        files = {pattern: what for pattern, what in _FILES.items() if any(folder.glob(pattern))}
        lines = [
            f"# Comparison {self.name}",
            "",
            f"{self.trials} finished trials. Written on {self.date} by `python -m "
            "tune_scripts.publish`, which writes everything here anew; nothing is edited by hand.",
            *([] if self.has_table else ["", NO_TABLE]),
            "",
            "Made by",
            "",
            *(f"- {command}" for command in self.commands),
            "",
            f"Code of the results: {', '.join(self.code_versions)}. "
            f"Machine that published them: {machine_in_words()}.",
            "",
            "| File | Content |",
            "|---|---|",
            *(f"| `{pattern}` | {what} |" for pattern, what in files.items()),
        ]
        if self.notes:
            lines += ["", "To be known before trusting them:", ""]
            lines += [f"- {note}" for note in self.notes]
        return "\n".join([*lines, ""])


def commands_in_words(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Each command once, with when it was first started, how often, and by which code.

    Args:
        rows: Of a `commands.csv`.
    """
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        found.setdefault(row["command"], []).append(row)
    lines = []
    for command, starts in found.items():
        versions = ", ".join(dict.fromkeys(row["code_version"] for row in starts))
        often = "" if len(starts) == 1 else f", {len(starts)} times until {starts[-1]['time']}"
        lines.append(f"`{command}` (started {starts[0]['time']}{often}; code {versions})")
    return lines


def machine_in_words() -> str:
    """Number of cores and the processor's name."""
    name = platform.machine()
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
                break
    return f"{os.cpu_count()} cores, {name}"
