"""Two selections of one batch: the same, the opposite, and unrelated ones."""

from __future__ import annotations

import math

import pytest
import torch

from e2hil_rllib.method.influence import influence_bounds, selection_mask
from e2hil_rllib.method.selection import Selection
from tune_scripts.examine.mask_noise import above, agreement, below, mean_of


def selection(influence: torch.Tensor, lower: float = 5, upper: float = 90) -> Selection:
    bounds = influence_bounds(influence, lower, upper)
    return Selection(influence, *bounds, selection_mask(influence, *bounds))


def drawn(seed: int, rows: int = 4000) -> torch.Tensor:
    return torch.randn(rows, generator=torch.Generator().manual_seed(seed))


def test_a_selection_agrees_with_itself_and_with_a_scaled_one():
    first = selection(drawn(0))
    for second in (first, selection(-3 * drawn(0))):
        both = agreement(first, second)
        assert (both.verdicts, both.pruned_again) == (1, 1)
        assert both.rank == pytest.approx(1)


def test_unrelated_ones_agree_by_chance():
    both = agreement(selection(drawn(0)), selection(drawn(1)))
    assert both.by_chance == pytest.approx(0.85**2 + 0.15**2, abs=1e-3)
    assert both.verdicts == pytest.approx(both.by_chance, abs=0.02)
    assert both.pruned_again == pytest.approx(0.15, abs=0.04)
    assert both.rank == pytest.approx(0, abs=0.05)


def test_the_opposite_order_ranks_at_minus_one():
    values = torch.arange(1.0, 101)
    assert agreement(selection(values), selection(values.flip(0))).rank == pytest.approx(-1)


def test_kept_above_and_below_make_up_the_batch():
    one = selection(drawn(0, 200))
    assert torch.equal(above(one) | below(one), ~one.mask)
    assert (above(one).sum(), below(one).sum()) == (20, 10)


def test_batches_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="of 10 and 20 samples"):
        agreement(selection(drawn(0, 10)), selection(drawn(0, 20)))


def test_the_mean_of_no_values_is_nan():
    assert mean_of(torch.tensor([1.0, 3.0, 8.0]), torch.tensor([True, True, False])) == 2
    assert math.isnan(mean_of(torch.ones(2), torch.zeros(2, dtype=torch.bool)))
