"""Selection rules and their statistics."""

import pytest
import torch

from e2hil_rllib.method.influence import influence_values
from e2hil_rllib.method.selection import SelectionSettings, select_samples


def draws(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 200, generator=generator), torch.randn(8, 200, generator=generator)


def select(rule, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    settings = SelectionSettings(rule=rule, **kwargs)
    return select_samples(*draws(), torch.tensor(0.1), settings, generator)


def test_the_entropy_rule_keeps_85_percent_between_its_bounds():
    selection = select("entropy")
    assert torch.equal(selection.influence, influence_values(*draws(), 0.1))
    assert selection.mask.sum() == 170
    kept = selection.influence[selection.mask].abs()
    assert kept.min() >= selection.lower
    assert kept.max() <= selection.upper


def test_the_random_rule_keeps_as_many_others():
    entropy, random = select("entropy"), select("random")
    assert random.mask.sum() == entropy.mask.sum()
    assert not torch.equal(random.mask, entropy.mask)
    assert torch.equal(random.mask, select("random").mask)
    assert not torch.equal(random.mask, select("random", seed=1).mask)


def test_the_log_rule_is_not_the_entropy_rule():
    assert not torch.allclose(select("log_entropy").influence, select("entropy").influence)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rule": "entropie"}, r"rule='entropie'\): must be 'entropy'"),
        ({"num_action_samples": 1}, "must be at least 2"),
        ({"lower_percentile": 90, "upper_percentile": 5}, "0 <= lower < upper"),
        ({"density_clip": 0}, "must be above 0"),
        ({"diagnostics_interval": 0}, "must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SelectionSettings.checked("entropy_selection", kwargs)
