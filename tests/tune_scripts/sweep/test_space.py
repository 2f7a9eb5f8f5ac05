"""Search space of a sweep."""

from __future__ import annotations

import pytest
import yaml

from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.build import algorithm_config
from tests.tune_scripts.reach import reach
from tune_scripts.sweep.space import SEARCHED, paper_values
from tune_scripts.sweep.trial import settings_of


def test_the_reference_has_the_papers_values():
    assert paper_values() == {
        "entropy_selection.upper_percentile": 90.0,
        "entropy_selection.lower_percentile": 5.0,
        "entropy_selection.num_action_samples": 8,
        "training.utd_ratio": 2,
        "training.initial_alpha": 0.01,
        "human_in_the_loop.demonstration_fraction": 0.5,
    }


@pytest.mark.parametrize("searched", SEARCHED, ids=lambda searched: searched.name)
def test_the_paper_and_both_ends_are_in_the_range_and_valid(searched, tmp_path):
    distribution = searched.distribution()
    for value in (searched.low, searched.paper, searched.high):
        assert distribution._contains(distribution.to_internal_repr(value))
        values = paper_values() | {searched.key: type(searched.paper)(value)}
        settings = settings_of(reach(demonstrations={"record": 2}), values, 60)
        config = algorithm_config(settings, RunFolder(tmp_path))
        assert getattr(config, searched.name) == value
    assert (distribution.low, distribution.high) == (searched.low, searched.high)
    assert len(searched.help) > 20 and len(searched.reason) > 20


def test_any_percentiles_of_the_ranges_are_compatible():
    by_name = {searched.name: searched for searched in SEARCHED}
    assert by_name["lower_percentile"].high < by_name["upper_percentile"].low


def test_a_trials_values_and_end_replace_those_of_the_task():
    base = reach(demonstrations={"record": 2}, training={"utd_ratio": 3, "hidden_sizes": [16]})
    values = paper_values() | {"training.utd_ratio": 8, "training.initial_alpha": 1e-05}
    settings = settings_of(base, values, 7)
    assert (settings.training.utd_ratio, settings.training.initial_alpha) == (8, 1e-05)
    assert (settings.training.hidden_sizes, settings.stop.steps) == ((16,), 7)
    assert settings.entropy_selection.num_action_samples == 8
    assert yaml.safe_load(base.to_yaml())["training"]["utd_ratio"] == 3
