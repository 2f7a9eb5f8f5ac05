"""Presets: each sets the same settings, and published numbers are those that were published."""

import pytest

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.settings.presets import DEFAULT, PRESETS, preset_settings


def test_all_presets_set_the_same_settings_and_each_is_one_of_the_configuration():
    names = set(PRESETS[DEFAULT])
    config = E2HiLConfig()
    for preset in PRESETS.values():
        assert set(preset) == names
    assert all(hasattr(config, name) for name in names)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_undoes_another_and_is_valid(name):
    config = E2HiLConfig().environment("Pendulum-v1")
    for other in PRESETS:
        config.preset(other)
    config.preset(name).validate()
    assert {key: getattr(config, key) for key in PRESETS[name]} == PRESETS[name]


def test_a_configuration_begins_with_the_default():
    config = E2HiLConfig()
    assert {key: getattr(config, key) for key in PRESETS[DEFAULT]} == PRESETS[DEFAULT]


@pytest.mark.parametrize(("name", "selects"), [("hil_serl", False), ("e2hil_paper", True)])
def test_published_methods_have_nothing_of_ours(name, selects):
    config = E2HiLConfig().preset(name)
    assert config.selection_enabled is selects
    assert (config.initial_alpha, config.alpha_lr, config.backup_entropy) == (0.01, 3e-4, True)
    assert (config.imitation_weight, config.warm_start_updates, config.n_step) == (0, 0, 1)
    assert (config.lowest_return, config.highest_return) == (None, None)
    assert (config.monte_carlo_floor, config.exploration_noise) == (False, 1)


def test_a_mistyped_preset_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"preset='hil_serk'.*did you mean 'hil_serl'"):
        preset_settings("hil_serk")
