"""Finished trials of a comparison: rows of ``results.csv``, pooled over one or more folders."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2hil_rllib.errors import UserError
from e2hil_rllib.run.evaluation_log import LASTING_EVALUATIONS
from e2hil_rllib.run.run_folder import RunFolder

RESULTS = "results.csv"
ERRORS = "errors.csv"
_RUNS = ("trials/*/*/seed_*", "trials/*/*/*/seed_*")  # without and with a person

# Order of tables and legends; other methods follow by name. "e2hil" is the name of "e2hil_paper" in
# results from before there were presets.
METHODS = (
    "default", "e2hil", "e2hil_paper", "hil_serl", "hil_serl_repaired", "bc", "random",
    "upper_only", "lower_only", "log_influence", "rlpd10",
)  # fmt: skip


class ComparisonError(UserError):
    """A comparison that cannot be reported; the message says why and what to do."""


@dataclass(frozen=True)
class Trial:
    """Finished trial.

    Attributes:
        task: Name of the task, e.g. touch_cube; where persons are compared, with the person, e.g.
            touch_cube_patience_0.6, since methods are compared under one person.
        method: Name of the method, e.g. e2hil.
        seed: Seed of all random draws.
        steps: Steps of training.
        success_rate: Success of the last deterministic evaluation without the operator, 0 to 1.
        intervention_rate: Human steps of training over all of them, 0 to 1.
        human_steps: Human steps of training.
        human_steps_to_90: Human steps until 90 % of the last 20 episodes succeeded without one;
            infinite if they never did.
        takeovers: Changes of control to the human; NaN where they were not counted.
        human_steps_to_lasting_90: Human steps until success alone held, in
            ``LASTING_EVALUATIONS`` consecutive evaluations; infinite if it never did, NaN where
            there were fewer evaluations.
        takeovers_to_lasting_90: Takeovers until then.
        fell_back: Lowest success of a later evaluation below 90 %; NaN if there was none.
        evaluation_episodes: Number of episodes behind ``success_rate``.
        config_hash: Hash of the trial's settings.
        code_version: Version of the code that trained it.
        run: Run folder.
        origin: File and line, for messages.
    """

    task: str
    method: str
    seed: int
    steps: int
    success_rate: float
    intervention_rate: float
    human_steps: float
    human_steps_to_90: float
    takeovers: float
    human_steps_to_lasting_90: float
    takeovers_to_lasting_90: float
    fell_back: float
    evaluation_episodes: int
    config_hash: str
    code_version: str
    run: RunFolder
    origin: str

    @property
    def key(self) -> tuple[str, str, int]:
        """Identity of the trial, which a comparison holds once."""
        return self.task, self.method, self.seed


@dataclass(frozen=True)
class Comparison:
    """Trials, with notes on them.

    Attributes:
        trials: Trials sorted by task, method and seed.
        notes: Rows left out, with the reason, and differences that make trials hard to compare.
    """

    trials: Sequence[Trial]
    notes: Sequence[str]

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in order."""
        return list(dict.fromkeys(trial.task for trial in self.trials))

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in order."""
        return sorted({trial.method for trial in self.trials}, key=method_order)

    def of(self, task: str, method: str) -> list[Trial]:
        """Return a method's trials on a task, by seed."""
        return [t for t in self.trials if (t.task, t.method) == (task, method)]


def method_order(method: str) -> tuple[int, str]:
    """Return the sorting key of a method."""
    return METHODS.index(method) if method in METHODS else len(METHODS), method


def read_comparison(folders: Sequence[Path]) -> Comparison:
    """Read and pool the results of comparisons.

    A row that cannot be read is left out and named. Among rows of the same task, method, seed and
    settings the last one counts, since a trial that was run again is appended; the same holds among
    rows of one run folder, which was resumed for more steps.

    Args:
        folders: Folders with a ``results.csv`` each.

    Raises:
        ComparisonError: A folder has no results, no row can be read, or two rows are of the same
            task, method and seed but of other settings and run folders.
    """
    notes: list[str] = []
    trials: dict[tuple[str, str, int], Trial] = {}
    for folder in folders:
        for trial in _read_results(folder, notes):
            earlier = trials.get(trial.key)
            if earlier is not None:
                notes.append(_repeated(earlier, trial))
            trials[trial.key] = trial
    if not trials:
        raise ComparisonError(
            " ".join(["There is no finished trial to report yet.", *notes])
            + " A row comes with the end of each trial."
        )
    ordered = sorted(trials.values(), key=lambda t: (t.task, method_order(t.method), t.seed))
    for folder in folders:
        notes += _unfinished(folder, ordered)
    return Comparison(ordered, [*notes, *_differences(ordered)])


def _repeated(earlier: Trial, trial: Trial) -> str:
    """Return a note on which of two rows counts.

    Raises:
        ComparisonError: They are of different settings.
    """
    what = f"task {trial.task}, method {trial.method}, seed {trial.seed}"
    same_run = earlier.run.root == trial.run.root  # it was resumed
    if earlier.config_hash != trial.config_hash and not same_run:
        raise ComparisonError(
            f"Two rows are of {what}, but of different settings: {earlier.origin} (config_hash "
            f"{earlier.config_hash}) and {trial.origin} (config_hash {trial.config_hash}). They "
            "cannot be pooled: remove one of the rows, or report the folders apart."
        )
    return f"{earlier.origin}: left out, {trial.origin} is of the same {what}, and counts."


def _read_results(folder: Path, notes: list[str]) -> Iterable[Trial]:
    path = folder / RESULTS
    if not path.is_file():
        raise ComparisonError(
            f"{folder} is not the folder of a comparison: it has no {RESULTS}. Name the folder "
            "that tune_scripts/compare/command.py wrote."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ComparisonError(
            f"{path} is damaged: it is no text ({error}). Restore it, or remove it and run the "
            "comparison again: it writes the rows of what is finished."
        ) from error
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        notes.append(f"{path}: the last line is left out, it has no end, as a kill leaves it.")
    reader = csv.DictReader(io.StringIO(whole), strict=True)
    try:
        for row in reader:
            origin = f"{path}, line {reader.line_num}"
            try:
                trial = _trial_of(row, folder, origin)
            except (KeyError, TypeError, ValueError) as error:
                fault = f"there is no column {error}" if isinstance(error, KeyError) else error
                notes.append(f"{origin}: the row is left out, {fault}.")
                continue
            yield trial
    except csv.Error as error:
        notes.append(f"{path}, line {reader.line_num} and what follows: left out, {error}.")


def _trial_of(row: Mapping[str, str], folder: Path, origin: str) -> Trial:
    if None in row or None in row.values():
        raise ValueError(f"it does not have {len([name for name in row if name])} cells")

    def number(name: str, highest: float = math.inf) -> float:
        value = float(row[name]) if row[name] else math.nan
        if not (math.isfinite(value) and 0 <= value <= highest):
            limit = f"0 to {highest:g}" if math.isfinite(highest) else "0 or more"
            raise ValueError(f"{name} is {row[name] or 'empty'}, expected {limit}")
        return value

    def known(name: str, otherwise: float, highest: float = math.inf) -> float:
        """Return a number that may be missing, as in tables older than its column."""
        return number(name, highest) if row.get(name) else otherwise

    for name in ("task", "method", "config_hash", "run_dir"):
        if not row[name]:
            raise ValueError(f"{name} is empty")
    takeovers = known("takeovers", math.nan)
    enough = known("evaluations", 0) >= LASTING_EVALUATIONS
    never = math.inf if enough else math.nan
    held = known("human_steps_to_lasting_90", never)
    return Trial(
        task="_".join(filter(None, (row["task"], row.get("person")))),
        method=row["method"],
        seed=int(row["seed"]),
        steps=int(number("steps")),
        success_rate=number("success_rate", 1),
        intervention_rate=number("intervention_rate", 1),
        human_steps=number("human_steps"),
        human_steps_to_90=number("human_steps_to_90") if row["human_steps_to_90"] else math.inf,
        takeovers=takeovers,
        human_steps_to_lasting_90=held,
        takeovers_to_lasting_90=known(
            "takeovers_to_lasting_90", math.nan if math.isfinite(held) else never
        ),
        fell_back=known("fell_back", math.nan, 1),
        evaluation_episodes=int(number("evaluation_episodes")),
        config_hash=row["config_hash"],
        code_version=row["code_version"],
        run=RunFolder(folder / row["run_dir"]),
        origin=origin,
    )


def _unfinished(folder: Path, trials: Iterable[Trial]) -> list[str]:
    """Return a note that names the run folders without a row: still running, or crashed."""
    finished = {trial.run.root.resolve() for trial in trials}
    runs = sorted(run for runs in _RUNS for run in folder.glob(runs) if run.is_dir())
    names = [str(run.relative_to(folder)) for run in runs if run.resolve() not in finished]
    if not names:
        return []
    why = f" {folder / ERRORS} says why trials failed." if (folder / ERRORS).exists() else ""
    return [f"{folder}: trials without a row, left out: {', '.join(names)}.{why}"]


def _differences(trials: Sequence[Trial]) -> list[str]:
    """Return notes on differences between trials that should be alike."""
    notes = []
    versions = sorted({trial.code_version for trial in trials})
    if len(versions) > 1:
        notes.append(f"Trials of different code versions are pooled: {', '.join(versions)}.")
    for task in dict.fromkeys(trial.task for trial in trials):
        for what in ("steps", "evaluation_episodes"):
            values = sorted({getattr(trial, what) for trial in trials if trial.task == task})
            if len(values) > 1:
                found = ", ".join(str(value) for value in values)
                notes.append(f"Task {task}: trials differ in {what}: {found}.")
    return notes
