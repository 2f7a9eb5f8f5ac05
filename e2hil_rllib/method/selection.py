"""The selection rules over a batch, and what is logged of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from e2hil_rllib.data.replay import EPISODE, SOURCE, SOURCE_NAMES, STEP
from e2hil_rllib.method.influence import (
    check_percentiles,
    influence_bounds,
    influence_values,
    log_influence_values,
    random_mask,
    selection_mask,
)
from e2hil_rllib.run.selection_log import JudgedSamples

Rule = Literal["entropy", "log_entropy", "random"]
RULES: tuple[str, ...] = ("entropy", "log_entropy", "random")


@dataclass(frozen=True)
class SelectionSettings:
    """How samples are selected. Defaults are those of the authors' source."""

    #: Whether the actor learns from the selected samples only; off is HIL-SERL's learner.
    enabled: bool = True
    #: "entropy" (Eq. 10), "log_entropy" (without the density), or "random" (as many, at random).
    rule: Rule = "entropy"
    #: K, the actions drawn for each state.
    num_action_samples: int = 8
    #: ℓ in percent of |c| over the batch; 0 switches the lower bound off.
    lower_percentile: float = 5.0
    #: u in percent; 100 switches the upper bound off.
    upper_percentile: float = 90.0
    #: Largest density that multiplies the advantage.
    density_clip: float = 1e6
    #: Actor updates between two sets of logged influence statistics.
    diagnostics_interval: int = 25

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: Naming the setting, what it is and what it must be.
        """
        if self.rule not in RULES:
            raise ValueError(f"entropy_selection rule={self.rule!r}: must be one of {RULES}")
        if self.num_action_samples < 2:
            raise ValueError(
                f"num_action_samples={self.num_action_samples}: a covariance needs at least 2"
            )
        check_percentiles(self.lower_percentile, self.upper_percentile)
        if not self.density_clip > 0:
            raise ValueError(f"density_clip={self.density_clip}: must be positive")
        if self.diagnostics_interval < 1:
            raise ValueError(f"diagnostics_interval={self.diagnostics_interval}: must be >= 1")


@dataclass(frozen=True)
class Selection:
    """Influence (B,), its bounds (scalars) and the mask (B,) of the samples to learn from."""

    influence: Tensor
    lower: Tensor
    upper: Tensor
    mask: Tensor


def select_samples(
    log_prob: Tensor,
    q: Tensor,
    temperature: Tensor,
    settings: SelectionSettings,
    generator: torch.Generator,
) -> Selection:
    """Apply a rule to the K draws of a batch.

    Args:
        log_prob: Shape (K, B).
        q: Shape (K, B), minimum over the critics.
        temperature: α, scalar.
        settings: The rule and its numbers.
        generator: CPU stream of the "random" rule.

    Returns:
        The selection of the batch.
    """
    if settings.rule == "log_entropy":
        influence = log_influence_values(log_prob, q, temperature)
    else:
        influence = influence_values(log_prob, q, temperature, density_clip=settings.density_clip)
    lower, upper = influence_bounds(influence, settings.lower_percentile, settings.upper_percentile)
    mask = selection_mask(influence, lower, upper)
    if settings.rule == "random":
        mask = random_mask(mask.cpu(), generator=generator).to(mask.device)
    return Selection(influence, lower, upper, mask)


def selection_statistics(
    selection: Selection, source: Tensor, settings: SelectionSettings
) -> dict[str, float]:
    """What is logged of a selection, over the batch and for each source in it.

    ``influence_mean`` is the mean of |c|, ``entropy_change`` the mean of c (the predicted change
    of entropy for a unit step, Eq. 9), ``entropy_change_learned`` that of the samples which the
    actor learns from, ``influence_lower``/``influence_upper`` the bounds; with a source's name
    behind them, they are the 5th and 95th percentile of that source's |c|.

    Args:
        selection: Of the batch.
        source: Shape (B,), codes of :data:`~e2hil_rllib.data.replay.SOURCE_NAMES`.
        settings: By which it was selected.

    Returns:
        Values by name; a source without samples is left out.
    """
    influence = selection.influence.double().cpu().numpy()
    magnitude = np.abs(influence)
    kept = selection.mask.cpu().numpy()
    codes = source.cpu().numpy()
    learned = influence[kept] if settings.enabled else influence
    statistics = {
        "influence_mean": float(magnitude.mean()),
        "entropy_change": float(influence.mean()),
        "entropy_change_learned": float(learned.mean()) if learned.size else math.nan,
        "influence_lower": float(selection.lower),
        "influence_upper": float(selection.upper),
        "kept_fraction": float(kept.mean()),
    }
    for code, name in enumerate(SOURCE_NAMES):
        chosen = codes == code
        if chosen.any():
            lower, upper = np.percentile(magnitude[chosen], (5, 95))
            statistics |= {
                f"influence_mean_{name}": float(magnitude[chosen].mean()),
                f"influence_lower_{name}": float(lower),
                f"influence_upper_{name}": float(upper),
                f"kept_fraction_{name}": float(kept[chosen].mean()),
            }
    return statistics


def judged_samples(
    selection: Selection, batch: Mapping[str, Any], settings: SelectionSettings
) -> JudgedSamples:
    """What a selection thought of each sample of a batch, for the log.

    Args:
        selection: Of the batch.
        batch: Its columns, of which source, episode and step are taken.
        settings: By which it was selected.
    """
    columns = {name: batch[name].cpu().numpy().copy() for name in (EPISODE, STEP, SOURCE)}
    return JudgedSamples(
        **columns,
        influence=selection.influence.cpu().numpy(),
        kept=selection.mask.cpu().numpy(),
        lower=float(selection.lower),
        upper=float(selection.upper),
        rule=settings.rule,
        enabled=settings.enabled,
    )
