"""Statistics of a selection."""

import pytest
import torch

from e2hil_rllib.learning.selection_statistics import selection_statistics
from e2hil_rllib.method.selection import SelectionSettings
from tests.method.test_selection import select


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
