"""Selection rules: which samples of a batch the actor learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from e2hil_rllib.method.influence import (
    check_percentiles,
    influence_bounds,
    influence_values,
    log_influence_values,
    random_mask,
    selection_mask,
)
from e2hil_rllib.section import Section

Rule = Literal["entropy", "log_entropy", "random"]


class SelectionSettings(Section):
    """Selection of samples for the actor (Eq. 10-12); numbers are those of the authors' source."""

    attributes: ClassVar[Mapping[str, str]] = {
        "enabled": "selection_enabled",
        "rule": "selection_rule",
    }

    enabled: bool = False
    """Whether the actor learns from selected samples only; off is HIL-SERL's learner. Influence,
    mask and entropy change are then still estimated for the log every ``diagnostics_interval``
    actor updates, from a random stream of their own."""
    rule: Rule = "entropy"
    """Ranking of samples: ``"entropy"`` (Eq. 10), ``"log_entropy"`` (Cov(log π, A), without the
    density) or ``"random"`` (keeps as many as the entropy rule would)."""
    num_action_samples: int = Field(default=8, ge=2)
    """K, actions drawn for each state to estimate its influence; at least 2 for a covariance."""
    lower_percentile: float = 5.0
    """ℓ in percent of |c| over the minibatch: samples below it are left out as noise; 0 keeps
    them."""
    upper_percentile: float = 90.0
    """u in percent of |c|: samples above it are left out as shortcuts; 100 keeps them."""
    density_clip: float = Field(default=1e6, gt=0)
    """Largest density π(a|s) that multiplies the advantage."""
    diagnostics_interval: int = Field(default=25, ge=1)
    """Actor updates between two sets of logged influence statistics."""

    @model_validator(mode="after")
    def _ordered(self) -> SelectionSettings:
        check_percentiles(self.lower_percentile, self.upper_percentile)
        return self


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
