"""Selection rules and their statistics."""

import pytest
import torch

from e2hil_rllib.method.influence import influence_values
from e2hil_rllib.method.selection import SelectionSettings, select_samples, selection_statistics


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


def test_the_learned_change_is_that_of_the_samples_the_actor_learns_from():
    selection, source = select("entropy"), torch.zeros(200, dtype=torch.uint8)
    of = {
        enabled: selection_statistics(selection, source, SelectionSettings(enabled=enabled))
        for enabled in (True, False)
    }
    kept = selection.influence[selection.mask].mean().item()
    assert of[True]["entropy_change_learned"] == pytest.approx(kept)
    assert of[False]["entropy_change_learned"] == pytest.approx(of[False]["entropy_change"])
    assert kept != pytest.approx(of[False]["entropy_change"])


def test_statistics_are_given_by_source():
    selection = select("entropy")
    source = torch.tensor([0] * 150 + [2] * 50)
    statistics = selection_statistics(selection, source, SelectionSettings())
    magnitude = selection.influence.abs()
    assert statistics["influence_mean"] == pytest.approx(magnitude.mean().item())
    assert statistics["entropy_change"] == pytest.approx(selection.influence.mean().item())
    assert statistics["influence_mean_demonstration"] == pytest.approx(
        magnitude[150:].mean().item()
    )
    kept = selection.mask[150:].float().mean().item()
    assert statistics["kept_fraction_demonstration"] == pytest.approx(kept)
    assert "kept_fraction_intervention" not in statistics


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rule": "entropie"}, "rule='entropie': must be one of"),
        ({"num_action_samples": 1}, "at least 2"),
        ({"lower_percentile": 90, "upper_percentile": 5}, "0 <= lower < upper"),
        ({"density_clip": 0}, "must be positive"),
        ({"diagnostics_interval": 0}, "must be >= 1"),
    ],
)
def test_settings_out_of_range_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SelectionSettings(**kwargs)
