"""Results of a sweep: its tables on disk and on the console."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from tune_scripts.compare.results import TableError, append_row, read_table
from tune_scripts.sweep.space import SEARCHED, Values
from tune_scripts.sweep.trial import PRUNED, Standing

TRIALS = "trials.csv"
_BEST = 5
_TITLES = (
    "objective", "success", "human steps", "steps",
    *(searched.name.replace("_", " ") for searched in SEARCHED),
)  # fmt: skip
_WHOLE = ("number", "steps", "human_steps", "num_action_samples", "utd_ratio")
_TEXTS = ("ended", "code_version", "run_dir")


@dataclasses.dataclass(frozen=True)
class EndedTrial:
    """Ended trial: the columns of ``trials.csv``, in order.

    Attributes:
        number: Number of the trial; 0 has the paper's values.
        upper_percentile: Searched setting, see ``tune_scripts.sweep.space.SEARCHED``.
        lower_percentile: Searched setting.
        num_action_samples: Searched setting.
        utd_ratio: Searched setting.
        initial_alpha: Searched setting.
        demonstration_fraction: Searched setting.
        steps: Environment steps of training.
        human_steps: Human steps of training, without the demonstrations.
        success_rate: Success of the last evaluation, deterministic and without the operator.
        objective: Mean success over the first H human steps; for a pruned trial over those that it
            spent, which is not comparable with the others.
        ended: Reason of the end: ``BUDGET``, ``HUMAN_STEPS_SPENT`` or ``PRUNED``.
        code_version: Commit of the code, see ``tune_scripts.compare.results.ResultRow``.
        run_dir: Run folder, relative to the sweep's.
    """

    number: int
    upper_percentile: float
    lower_percentile: float
    num_action_samples: int
    utd_ratio: int
    initial_alpha: float
    demonstration_fraction: float
    steps: int
    human_steps: int
    success_rate: float
    objective: float
    ended: str
    code_version: str
    run_dir: str

    @classmethod
    def of(
        cls, number: int, values: Values, standing: Standing, code_version: str, run_dir: str
    ) -> EndedTrial:
        """Return the row of a trial; one that could continue was pruned."""
        by_name: dict[str, Any] = {searched.name: values[searched.key] for searched in SEARCHED}
        figures = ("steps", "human_steps", "success_rate", "objective")
        return cls(
            number=number,
            ended=standing.ended or PRUNED,
            code_version=code_version,
            run_dir=run_dir,
            **by_name,
            **{name: getattr(standing, name) for name in figures},
        )

    @property
    def values(self) -> Values:
        """Searched values by the keys of their settings."""
        return {searched.key: getattr(self, searched.name) for searched in SEARCHED}

    @property
    def pruned(self) -> bool:
        """Whether ASHA ended it early."""
        return self.ended == PRUNED


def append_trial(out: Path, trial: EndedTrial) -> None:
    """Add a trial to the table, which is whole at every moment.

    Raises:
        TableError: The file has other columns.
        WriteError: The disk is full.
    """
    append_row(out / TRIALS, trial)


def read_trials(out: Path) -> list[EndedTrial]:
    """Read the ended trials, sorted by number; none where there is no table.

    Raises:
        TableError: The file has other columns, a cell of a wrong type, or two rows of a trial.
    """
    path = out / TRIALS
    trials: dict[int, EndedTrial] = {}
    for line, row in enumerate(read_table(path, EndedTrial), start=2):
        try:
            trial = EndedTrial(**{name: _value(name, cell) for name, cell in row.items()})
        except ValueError as error:
            raise TableError(f"{path}, line {line}: {error}. Remove the line.") from error
        if trial.number in trials:
            raise TableError(f"{path}, line {line}: trial {trial.number} again. Remove the line.")
        trials[trial.number] = trial
    return [trials[number] for number in sorted(trials)]


def _value(name: str, cell: str) -> Any:
    return cell if name in _TEXTS else int(cell) if name in _WHOLE else float(cell)


def best_first(trials: Sequence[EndedTrial]) -> list[EndedTrial]:
    """Return the trials that were not pruned, sorted by objective, then by fewest human steps.

    Args:
        trials: Ended trials.
    """
    whole = [trial for trial in trials if not trial.pruned]
    return sorted(whole, key=lambda trial: (-trial.objective, trial.human_steps, trial.number))


def best_table(trials: Sequence[EndedTrial], human_steps: int) -> Table:
    """Return a table of the best five trials and the one with the paper's values, a column each.

    Args:
        trials: Ended trials.
        human_steps: H of the sweep.
    """
    order = best_first(trials)
    chosen = order[:_BEST]
    reference = [trial for trial in order if trial.number == 0 and trial not in chosen]
    table = Table(title=f"The best by mean success over {human_steps} human steps")
    table.add_column("trial")
    columns = [_cells(trial) for trial in [*reference, *chosen]]
    for column in columns:
        table.add_column(column[0], justify="right", no_wrap=True)
    for cells in zip(_TITLES, *(column[1:] for column in columns), strict=True):
        table.add_row(*cells, end_section=cells[0] == _TITLES[3])
    return table


def _cells(trial: EndedTrial) -> list[str]:
    return [
        str(trial.number) if trial.number else "paper",
        f"{trial.objective:.3f}",
        f"{100 * trial.success_rate:.0f} %",
        str(trial.human_steps),
        str(trial.steps),
        *(f"{value:.3g}" for value in trial.values.values()),
    ]
