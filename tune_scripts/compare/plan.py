"""Plan of a comparison: its trials, and the checks of finished and begun ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from e2hil_rllib.errors import UserError
from e2hil_rllib.run.progress import STEP, read_rows
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.run_settings import (
    Settings,
    changed_keys,
    load_settings,
)
from e2hil_rllib.settings.sections import ALGORITHM_SECTIONS
from e2hil_rllib.settings.yaml_file import SettingsError, hint
from tune_scripts.compare.methods import apply_method, with_settings
from tune_scripts.compare.persons import SETTINGS_PERSON, Person
from tune_scripts.compare.results import is_of

# They do not change the result, or are separate columns.
_NOT_HASHED = {"seed", "checkpoint", "resources"}


class PlanError(UserError):
    """A comparison that cannot be run as asked; the message says what to do instead."""


@dataclass(frozen=True)
class Trial:
    """Trial of a comparison: one run.

    Attributes:
        task: Name of its settings file.
        method: One of ``tune_scripts.compare.methods.METHODS``.
        seed: Seed of all random draws.
        settings: Settings of the run under the method; its demonstrations are to be recorded.
        config_hash: Hash of these settings.
        person: Name of the person where persons are compared, e.g. patience_0.6; "" otherwise.
    """

    task: str
    method: str
    seed: int
    settings: Settings
    config_hash: str
    person: str = ""

    @property
    def name(self) -> str:
        """Trial in words."""
        return trial_name(self.task, self.method, self.seed, self.person)

    @property
    def run_dir(self) -> str:
        """Run folder, relative to the comparison's."""
        where = PurePosixPath("trials", self.task, self.method, self.person, f"seed_{self.seed}")
        return str(where)


def trial_name(task: str, method: str, seed: int, person: str) -> str:
    """Return a trial in words."""
    return " ".join(part for part in (task, method, person, f"seed {seed}") if part)


def load_task(folder: Path, name: str, overrides: Iterable[str]) -> Settings:
    """Read the settings of a task.

    Args:
        folder: Folder of settings files.
        name: Name of one of them, without its ending.
        overrides: ``key.of.section=value`` texts.

    Raises:
        SettingsError: There is no such file, or a key or a value of it is wrong.
        PlanError: It cannot be compared in simulation.
    """
    names = [path.stem for path in sorted(folder.glob("*.yaml"))]
    if name not in names:
        raise SettingsError(f"There is no task {name!r} in {folder}.{hint(name, names)}")
    settings = load_settings(folder / f"{name}.yaml", list(overrides))
    if settings.robots is not None:
        raise PlanError(f"The task {name} is one of a robot; name tasks in simulation.")
    resources = settings.resources
    if resources.num_env_runners or resources.num_learners:
        raise PlanError(
            f"The task {name} has resources.num_env_runners={resources.num_env_runners} and "
            f"num_learners={resources.num_learners}, but a trial is one process. Add "
            "--set resources.num_env_runners=0 --set resources.num_learners=0; more trials run "
            "at once instead."
        )
    return settings


def plan_trials(
    tasks: Mapping[str, Settings],
    methods: Sequence[str],
    seeds: Iterable[int],
    persons: Sequence[Person] = (SETTINGS_PERSON,),
) -> list[Trial]:
    """Return all trials, ordered by seed, so that early results compare all methods.

    Args:
        tasks: Settings of the tasks by name.
        methods: Names of the methods.
        seeds: Seeds of the trials.
        persons: Persons at the simulated arm.

    Raises:
        SettingsError: There is no such method, or a method or a person does not fit the settings.
    """
    trials = []
    for seed in seeds:
        for task, base in tasks.items():
            for person in persons:
                watched = person.watches(task, base)
                for method in methods:
                    settings = with_settings(apply_method(watched, method), f"seed={seed}")
                    code = config_hash(settings)
                    trials.append(Trial(task, method, seed, settings, code, person.name))
    return trials


def config_hash(settings: Settings) -> str:
    """Return twelve digits that are the same on other machines, for other seeds and when resumed.

    They leave out the folder of the demonstrations, the checkpoint interval and the processors,
    and include steps and evaluation.
    """
    values = settings.model_dump(exclude=_NOT_HASHED, exclude_defaults=True)
    for section in ALGORITHM_SECTIONS:
        # All given values, defaults included: they may change a setting of the preset.
        given = settings.arguments(section)
        values.pop(section, None)
        if given:
            values[section] = given
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_finished(
    trial: Trial, rows: Iterable[Mapping[str, Any]], code: str, any_version: bool
) -> bool:
    """Return whether a comparison's table has the result of a trial.

    Args:
        trial: Trial to look for.
        rows: Rows of the table.
        code: Version of the present code; a trial that it has worked on counts.
        any_version: Whether results of other code count as well.
    """
    return any(
        is_of(row, trial.task, trial.method, trial.seed, trial.person)
        and row["config_hash"] == trial.config_hash
        and (any_version or code in row["code_version"].split("+"))
        for row in rows
    )


def check_begun(trial: Trial, out: Path, begun_by: Sequence[str], code: str) -> None:
    """Refuse to resume a run that is not this trial's.

    Args:
        trial: Pending trial.
        out: Folder of the comparison.
        begun_by: Versions of the code that have worked on the run; none if it is new.
        code: Version of the present code; it must be among them if there are any.

    Raises:
        PlanError: The run was started with other settings or other code, or has more steps.
    """
    run = RunFolder(out / trial.run_dir)
    if not run.config.exists():
        return
    # The folder of the demonstrations is no part of the plan.
    changed = [
        key for key in changed_keys(run.settings(), trial.settings)
        if not key.startswith("demonstrations.")
    ]  # fmt: skip
    if changed:
        raise PlanError(
            f"{run.root} was started with other values of {', '.join(changed)}. Name another "
            "folder with --out, or remove this one."
        )
    # A resumed run may end up to an iteration later than asked.
    wanted, last = trial.settings.stop.steps, _last_step(run)
    if last > wanted and run.settings().stop.steps > wanted:
        raise PlanError(
            f"{run.root} is at step {last:.0f} already, beyond the {wanted} wanted. Name another "
            "folder with --out, or more --steps."
        )
    if begun_by and code not in begun_by:
        raise PlanError(
            f"{run.root} was begun by the code {' and '.join(begun_by)}, the present one is "
            f"{code}. Check that one out, or name another folder with --out, or add --any-version "
            "to resume it and to count results of other code as finished."
        )


def _last_step(run: RunFolder) -> float:
    try:
        rows = read_rows(run.progress) if run.progress.exists() else []
    except ValueError as error:
        raise PlanError(
            f"{run.progress} cannot be read: {error}. Remove the lines that are damaged, or all of "
            f"{run.root} to train this trial again."
        ) from error
    return rows[-1][STEP] if rows else 0
