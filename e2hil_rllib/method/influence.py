"""How much a sample changes the policy's entropy, and which samples the actor learns from.

Equation numbers are those of the E2HiL paper. Pure functions of tensors; nothing here carries a
gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


def soft_advantage(log_prob: Tensor, q: Tensor, temperature: Tensor | float) -> Tensor:
    """Soft advantage A(s, a) = g(s, a) − V(s) of K drawn actions (Eq. 7).

    g = min_j Q_j − α log π, and V(s) is the mean of g over the same K actions.

    Args:
        log_prob: Shape (K, B), log π(a_k|s).
        q: Shape (K, B), the minimum over the critics of Q(s, a_k).
        temperature: α, scalar.

    Returns:
        Shape (K, B), zero mean over the first axis.
    """
    value = q - temperature * log_prob
    return value - value.mean(dim=0, keepdim=True)


def influence_values(
    log_prob: Tensor,
    q: Tensor,
    temperature: Tensor | float,
    *,
    density_clip: float = 1e6,
) -> Tensor:
    """Influence c(s) = −Cov_K(log π, π·A) of each state on the policy's entropy (Eq. 10).

    The population covariance over the K actions, with the learning rate dropped. The density
    π = exp(log π) of a continuous policy is unbounded, so it is clipped before it multiplies A.

    Args:
        log_prob: Shape (K, B), log π(a_k|s) with the tanh correction.
        q: Shape (K, B), the minimum over the critics of Q(s, a_k).
        temperature: α, scalar.
        density_clip: Largest density used.

    Returns:
        Shape (B,), without gradient.

    Raises:
        ValueError: On shapes that differ, or fewer than two actions.
    """
    _check_draws(log_prob, q)
    with torch.no_grad():
        density = log_prob.exp().clamp(max=density_clip)
        weighted = density * soft_advantage(log_prob, q, temperature)
        return -_covariance(log_prob, weighted)


def log_influence_values(log_prob: Tensor, q: Tensor, temperature: Tensor | float) -> Tensor:
    """Density-free influence −Cov_K(log π, A): the rule ``"log_entropy"``.

    It is Eq. 4 for a natural-gradient step, where Δz = η A, and has no unbounded density in it.

    Args:
        log_prob: Shape (K, B).
        q: Shape (K, B).
        temperature: α, scalar.

    Returns:
        Shape (B,), without gradient.

    Raises:
        ValueError: On shapes that differ, or fewer than two actions.
    """
    _check_draws(log_prob, q)
    with torch.no_grad():
        return -_covariance(log_prob, soft_advantage(log_prob, q, temperature))


def influence_bounds(
    influence: Tensor, lower_percentile: float, upper_percentile: float
) -> tuple[Tensor, Tensor]:
    """Bounds ℓ, u of |c| over the batch (Eq. 11).

    Args:
        influence: Shape (B,).
        lower_percentile: In percent; 0 switches the lower bound off.
        upper_percentile: In percent; 100 switches the upper bound off.

    Returns:
        Two scalars (ℓ, u), linear interpolation between order statistics.

    Raises:
        ValueError: Unless 0 ≤ lower < upper ≤ 100.
    """
    check_percentiles(lower_percentile, upper_percentile)
    fractions = torch.tensor(
        [lower_percentile / 100, upper_percentile / 100],
        dtype=influence.dtype,
        device=influence.device,
    )
    lower, upper = torch.quantile(influence.detach().abs(), fractions)
    return lower, upper


def selection_mask(influence: Tensor, lower: Tensor | float, upper: Tensor | float) -> Tensor:
    """Indicator I(s) = 1{ℓ ≤ |c(s)| ≤ u} (Eq. 11).

    Args:
        influence: Shape (B,).
        lower: ℓ, scalar.
        upper: u, scalar.

    Returns:
        Boolean, shape (B,).
    """
    magnitude = influence.detach().abs()
    return (magnitude >= lower) & (magnitude <= upper)


def random_mask(keep: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Keep as many samples as ``keep`` does, at random: the control of the entropy rule.

    Args:
        keep: Boolean, shape (B,), the mask whose count is matched.
        generator: Source of the draw, on the mask's device.

    Returns:
        Boolean, shape (B,), with ``keep.sum()`` true entries.
    """
    order = torch.randperm(keep.shape[0], generator=generator, device=keep.device)
    return order < keep.sum()


def check_percentiles(lower_percentile: float, upper_percentile: float) -> None:
    """Refuse percentiles out of range or out of order.

    Raises:
        ValueError: Unless 0 ≤ lower < upper ≤ 100.
    """
    if not 0 <= lower_percentile < upper_percentile <= 100:
        raise ValueError(
            f"lower_percentile={lower_percentile} and upper_percentile={upper_percentile} must "
            "satisfy 0 <= lower < upper <= 100 (percent; 0 and 100 switch a bound off)"
        )


def _covariance(x: Tensor, y: Tensor) -> Tensor:
    """Population covariance over the first axis: (K, B), (K, B) -> (B,)."""
    return ((x - x.mean(dim=0, keepdim=True)) * (y - y.mean(dim=0, keepdim=True))).mean(dim=0)


def _check_draws(log_prob: Tensor, q: Tensor) -> None:
    if log_prob.shape != q.shape or log_prob.ndim != 2:
        raise ValueError(
            f"log_prob {tuple(log_prob.shape)} and q {tuple(q.shape)} must both be (K, B)"
        )
    if log_prob.shape[0] < 2:
        raise ValueError(f"a covariance needs at least K = 2 actions, got {log_prob.shape[0]}")
