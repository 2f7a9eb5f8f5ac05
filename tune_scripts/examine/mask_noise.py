"""How much of a selection is the draw of its K actions: two selections of one batch compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from e2hil_rllib.method.selection import Selection
from e2hil_rllib.report.comparison.statistics import spearman


@dataclass(frozen=True)
class Agreement:
    """Two selections of one batch.

    Attributes:
        verdicts: Share of the samples that both keep or both prune.
        by_chance: What that share is expected to be of two masks that know nothing of each other.
        pruned_again: Share of the samples pruned by the second that the first prunes too.
        rank: Spearman's correlation of |c|.
    """

    verdicts: float
    by_chance: float
    pruned_again: float
    rank: float


def agreement(first: Selection, second: Selection) -> Agreement:
    """Compares two selections of the same batch.

    Raises:
        ValueError: They are of batches of different sizes.
    """
    if first.mask.shape != second.mask.shape:
        raise ValueError(
            f"selections of {len(first.mask)} and {len(second.mask)} samples are not of one batch"
        )
    kept = first.mask.float().mean().item(), second.mask.float().mean().item()
    pruned = ~second.mask
    return Agreement(
        verdicts=(first.mask == second.mask).float().mean().item(),
        by_chance=kept[0] * kept[1] + (1 - kept[0]) * (1 - kept[1]),
        pruned_again=(~first.mask[pruned]).float().mean().item(),
        rank=rank_correlation(first.influence.abs(), second.influence.abs()),
    )


def above(selection: Selection) -> Tensor:
    """The samples above the upper bound, bool (B,)."""
    return selection.influence.abs() > selection.upper


def below(selection: Selection) -> Tensor:
    """The samples below the lower bound, bool (B,)."""
    return selection.influence.abs() < selection.lower


def rank_correlation(x: Tensor, y: Tensor) -> float:
    """Spearman's correlation of two vectors of the same length."""
    return spearman(x.double().cpu().numpy(), y.double().cpu().numpy())


def mean_of(values: Tensor, chosen: Tensor) -> float:
    """Mean of the chosen values; NaN where none is."""
    picked = values[chosen]
    return float(picked.mean()) if len(picked) else torch.nan
