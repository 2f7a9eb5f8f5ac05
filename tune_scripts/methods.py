"""The methods that are compared, all of them by configuration over the same settings file.

Network, data, operator and seeds stay those of the file; a method changes its overrides only.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from e2hil_rllib.settings import Settings
from e2hil_rllib.settings_file import SettingsError, explain, hint, with_overrides

_SELECTION_ON = ("entropy_selection.enabled=true", "entropy_selection.rule=entropy")


@dataclass(frozen=True)
class Method:
    """One way of training.

    Attributes:
        description: What it is, in a line.
        overrides: What it changes of the settings, as `key.of.section=value` texts.
    """

    description: str
    overrides: tuple[str, ...]


METHODS: dict[str, Method] = {
    "e2hil": Method("the selection by influence, as the file sets it", _SELECTION_ON),
    "hil_serl": Method("no selection", ("entropy_selection.enabled=false",)),
    # The control that matters: as many samples as `e2hil`, but whichever.
    "random": Method(
        "prunes as many samples as e2hil, at random",
        ("entropy_selection.enabled=true", "entropy_selection.rule=random"),
    ),
    "upper_only": Method(
        "prunes only the samples above the upper percentile",
        (*_SELECTION_ON, "entropy_selection.lower_percentile=0"),
    ),
    "lower_only": Method(
        "prunes only the samples below the lower percentile",
        (*_SELECTION_ON, "entropy_selection.upper_percentile=100"),
    ),
    "log_influence": Method(
        "the selection by Cov(log π, A), without the density",
        ("entropy_selection.enabled=true", "entropy_selection.rule=log_entropy"),
    ),
    # Without the selection: RLPD's ensemble is another answer to learning fast from few samples, so
    # that it is set against the selection. Both at once would tell neither apart.
    "rlpd10": Method(
        "RLPD's 10 critics, 2 of them for the target, no selection",
        (
            "entropy_selection.enabled=false",
            "training.num_critics=10",
            "training.num_subsampled_critics=2",
        ),
    ),
}


def apply_method(settings: Settings, name: str) -> Settings:
    """The settings of one method.

    Args:
        settings: Of the task; they stay as they are.
        name: One of `METHODS`.

    Raises:
        SettingsError: There is no such method.
    """
    return with_settings(settings, *find_method(name).overrides)


def find_method(name: str) -> Method:
    """The method of a name.

    Raises:
        SettingsError: There is none; the message names those that there are.
    """
    if name not in METHODS:
        raise SettingsError(f"There is no method {name!r}.{hint(name, METHODS)}")
    return METHODS[name]


def with_settings(settings: Settings, *overrides: str) -> Settings:
    """Settings with some keys changed.

    Args:
        settings: They stay as they are.
        *overrides: `key.of.section=value` texts; the values are read as YAML.

    Raises:
        SettingsError: A key or a value is wrong.
    """
    values = with_overrides(settings.model_dump(exclude_unset=True), overrides)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, " ".join(overrides))) from error
