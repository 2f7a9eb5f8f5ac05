"""Noise of a selection from drawing K actions: agreement of two selections of one batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from e2hil_rllib.method.selection import Selection
from e2hil_rllib.report.comparison.statistics import spearman


@dataclass(frozen=True)
class Agreement:
    """Agreement of two selections of one batch.

    Attributes:
        verdicts: Share of the samples that both keep or both prune.
        by_chance: Expected share for two independent masks.
        pruned_again: Share of the samples pruned by the second that the first prunes too.
        rank: Spearman's correlation of |c|.
    """

    verdicts: float
    by_chance: float
    pruned_again: float
    rank: float


def agreement(first: Selection, second: Selection) -> Agreement:
    """Compare two selections of the same batch.

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
    """Return the mask of the samples above the upper bound, bool (B,)."""
    return selection.influence.abs() > selection.upper


def below(selection: Selection) -> Tensor:
    """Return the mask of the samples below the lower bound, bool (B,)."""
    return selection.influence.abs() < selection.lower


def rank_correlation(x: Tensor, y: Tensor) -> float:
    """Return Spearman's correlation of two vectors of the same length."""
    return spearman(x.double().cpu().numpy(), y.double().cpu().numpy())


def mean_of(values: Tensor, chosen: Tensor) -> float:
    """Return the mean of the chosen values; NaN if none is chosen."""
    picked = values[chosen]
    return float(picked.mean()) if len(picked) else torch.nan
