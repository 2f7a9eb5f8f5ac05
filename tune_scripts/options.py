"""Options that the command lines of experiments share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from tune_scripts.compare.persons import TRAITS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
"""Folder of this project's settings files."""

_SEVERAL = ("--tasks", "--methods", "--set", *(f"--{trait}" for trait in TRAITS))

Address = Annotated[
    str | None,
    typer.Option(help="Address of a Ray cluster, e.g. auto; by default Ray is started here."),
]
CpusPerTrial = Annotated[
    float, typer.Option(min=0.01, help="CPUs that Ray sets aside for a trial; as many run as fit.")
]
GpusPerTrial = Annotated[float, typer.Option(min=0, help="Share of a GPU; 0 trains on processors.")]
Configs = Annotated[Path, typer.Option(help="Folder of settings files.")]


def trial_overrides(
    given: Sequence[str] | None, budget: int | None, gpus_per_trial: float
) -> list[str]:
    """Return the overrides of a trial's settings; by default, every trial runs to its budget.

    Args:
        given: Overrides given by --set.
        budget: Environment steps of the trial; None leaves them to the settings.
        gpus_per_trial: Share of a GPU for the trial.

    Returns:
        ``key.of.section=value`` texts.
    """
    overrides = ["stop.autonomous_success_rate=null", *(given or [])]
    if budget:
        overrides.append(f"stop.steps={budget}")
    if gpus_per_trial:
        overrides.append(f"resources.num_gpus_per_learner={gpus_per_trial}")
    return overrides


def key_of(override: str) -> str:
    """Return the key of a ``key.of.section=value`` text."""
    return override.partition("=")[0].strip()


class SeveralValues(TyperCommand):
    """Command whose options may be followed by several values, which click takes one by one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat an option before each of its values."""
        spread: list[str] = []
        option = ""
        for text in args:
            if text.startswith("-"):
                option = text if text in _SEVERAL else ""
            elif option and spread[-1] != option:
                spread.append(option)
            spread.append(text)
        return super().parse_args(ctx, spread)
