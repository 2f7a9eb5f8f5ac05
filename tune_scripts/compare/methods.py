"""Methods of a comparison: overrides of one and the same settings file.

Network, data, operator and seeds stay those of the file; a method changes its overrides only.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.yaml_file import SettingsError, explain, hint, with_overrides

_DEFAULT = "preset=default"
_PAPER = ("preset=e2hil_paper", "entropy_selection.enabled=true")
_UNSELECTED = ("preset=hil_serl", "entropy_selection.enabled=false")
# Faults of the published settings in these tasks that are no part of the method: targets beyond
# what an episode can return, a temperature that takes thousands of steps to fall, vectors in which
# a millimetre is hardly visible, and acting with the policy of the very last update.
_REPAIRS = (
    "training.lowest_return=auto",
    "training.highest_return=auto",
    "training.initial_alpha=0.001",
    "training.alpha_lr=0.003",
    "training.backup_entropy=false",
    "training.fine_scales=[3,9]",
    "training.averaged_policy=true",
)


@dataclass(frozen=True)
class Method:
    """Method of training.

    Attributes:
        description: Line that describes it.
        overrides: Changes of the settings, as ``key.of.section=value`` texts.
    """

    description: str
    overrides: tuple[str, ...]


METHODS: dict[str, Method] = {
    "default": Method("what we ship", (_DEFAULT,)),
    "hil_serl": Method("HIL-SERL's published settings", _UNSELECTED),
    "e2hil_paper": Method(
        "E2HiL's published settings", (*_PAPER, "entropy_selection.rule=entropy")
    ),
    "hil_serl_repaired": Method(
        "HIL-SERL with bounded targets, a low temperature, fine scales and an averaged policy",
        (*_UNSELECTED, *_REPAIRS),
    ),
    # HG-DAgger: the person corrects, and the policy imitates all human steps so far.
    "bc": Method(
        "imitates all human steps, without critics",
        (
            _DEFAULT,
            "imitation.reinforcement=false",
            "training.exploration_noise=0",
        ),
    ),
    # The default with the paper's selection, and with one part taken out.
    "with_selection": Method(
        "default with the selection of e2hil_paper",
        (_DEFAULT, "entropy_selection.enabled=true", "entropy_selection.rule=entropy"),
    ),
    "no_imitation": Method("default without imitation", (_DEFAULT, "imitation.weight=0")),
    "no_dropout": Method("default without dropout", (_DEFAULT, "imitation.dropout=0")),
    "no_bounds": Method(
        "default without bounds of the targets",
        (_DEFAULT, "training.lowest_return=null", "training.highest_return=null"),
    ),
    "no_low_temperature": Method(
        "default with the published temperature",
        (
            _DEFAULT,
            "training.initial_alpha=0.01",
            "training.alpha_lr=0.0003",
            "training.backup_entropy=true",
        ),
    ),
    "no_fine_scales": Method(
        "default without the finer copies of vectors", (_DEFAULT, "training.fine_scales=[]")
    ),
    "no_average": Method(
        "default that acts with the policy of the last update",
        (_DEFAULT, "training.averaged_policy=false"),
    ),
    "slow_actor": Method(
        "default with the published learning rate of the actor",
        (_DEFAULT, "training.actor_lr=0.0003"),
    ),
    "light_imitation": Method(
        "default with an imitation weight of 1", (_DEFAULT, "imitation.weight=1")
    ),
    "full_noise": Method(
        "default that acts with all of its noise", (_DEFAULT, "training.exploration_noise=1")
    ),
    # The control that matters: as many samples as `e2hil_paper`, but arbitrary ones.
    "random": Method(
        "prunes as many samples as e2hil_paper, at random",
        (*_PAPER, "entropy_selection.rule=random"),
    ),
    "upper_only": Method(
        "prunes only the samples above the upper percentile",
        (*_PAPER, "entropy_selection.rule=entropy", "entropy_selection.lower_percentile=0"),
    ),
    "lower_only": Method(
        "prunes only the samples below the lower percentile",
        (*_PAPER, "entropy_selection.rule=entropy", "entropy_selection.upper_percentile=100"),
    ),
    "log_influence": Method(
        "the selection by Cov(log π, A), without the density",
        (*_PAPER, "entropy_selection.rule=log_entropy"),
    ),
    # Without the selection: RLPD's ensemble is another way to learn fast from few samples, and is
    # compared with the selection. Both at once would confound them.
    "rlpd10": Method(
        "RLPD's 10 critics, 2 of them for the target, no selection",
        (*_UNSELECTED, "training.num_critics=10", "training.num_subsampled_critics=2"),
    ),
}


def apply_method(settings: Settings, name: str) -> Settings:
    """Return the settings of one method.

    Args:
        settings: Settings of the task, which are not changed.
        name: One of ``METHODS``.

    Raises:
        SettingsError: There is no such method.
    """
    return with_settings(settings, *find_method(name).overrides)


def find_method(name: str) -> Method:
    """Return the method of a name.

    Raises:
        SettingsError: There is none; the message suggests similar names.
    """
    if name not in METHODS:
        raise SettingsError(f"There is no method {name!r}.{hint(name, METHODS)}")
    return METHODS[name]


def with_settings(settings: Settings, *overrides: str) -> Settings:
    """Return settings with some keys changed.

    Args:
        settings: Settings to start from, which are not changed.
        *overrides: ``key.of.section=value`` texts; the values are read as YAML.

    Raises:
        SettingsError: A key or a value is wrong.
    """
    values = with_overrides(settings.model_dump(exclude_unset=True), overrides)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, " ".join(overrides))) from error
