"""Selection rules: which samples of a batch the actor learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from e2hil_rllib.method.influence import (
    check_percentiles,
    influence_bounds,
    influence_values,
    log_influence_values,
    random_mask,
    selection_mask,
)

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
