"""Simulated persons of a comparison."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.yaml_file import SettingsError
from tune_scripts.compare.methods import with_settings

TRAITS = ("patience", "skill", "attention")
"""Traits that may differ between persons, as ``env.operator`` names them."""


@dataclass(frozen=True)
class Person:
    """Simulated person; traits that are not set are those of the settings file.

    Attributes:
        traits: Names of ``TRAITS`` with their values.
    """

    traits: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """Part of a trial's identity and path, e.g. patience_0.6; "" if no trait is set."""
        return "_".join(f"{trait}_{value:g}" for trait, value in self.traits)

    def watches(self, task: str, settings: Settings) -> Settings:
        """Return the settings of a task with this person.

        Args:
            task: Name of the task, for the message.
            settings: Settings of the task, which are not changed.

        Raises:
            SettingsError: The task has no person, or a value is out of its range.
        """
        if self.traits and not isinstance(settings.env.get("operator"), Mapping):
            raise SettingsError(
                f"The task {task} has no simulated person to vary: its env.operator is not set. "
                f"Leave {' and '.join(f'--{trait}' for trait, _ in self.traits)} out, or add one."
            )
        return with_settings(
            settings, *(f"{trait_key(trait)}={value:g}" for trait, value in self.traits)
        )


SETTINGS_PERSON = Person()
"""Person of the settings file."""


def trait_key(trait: str) -> str:
    """Return the key of a trait in the settings."""
    return f"env.operator.{trait}"


def all_persons(values: Mapping[str, Sequence[float] | None]) -> list[Person]:
    """Return every combination of the given values, or the settings file's person if none is given.

    Args:
        values: Values by trait, for some of ``TRAITS``.
    """
    given = [[(trait, v) for v in dict.fromkeys(values[trait] or ())] for trait in TRAITS]
    return [Person(traits) for traits in itertools.product(*filter(None, given))]
