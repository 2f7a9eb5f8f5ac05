"""The three losses of soft actor-critic as E2HiL trains them. Pure functions of tensors.

Equation numbers are those of the E2HiL paper.
"""

from __future__ import annotations

import torch
from torch import Tensor


def critic_target(
    reward: Tensor,
    discount: Tensor,
    next_q: Tensor,
    next_log_prob: Tensor,
    temperature: Tensor | float,
    *,
    backup_entropy: bool = True,
    floor: Tensor | None = None,
    lowest_return: float | None = None,
    highest_return: float | None = None,
) -> Tensor:
    """Bellman target over n steps, kept between a known return and the bounds of all returns.

    y = clamp(max(R, Σ_{k<n} γ^k r_{t+k} + γ^n (1 − terminated) V'(s'))) with
    V'(s') = min_j Q'_j(s', a') − α log π(a'|s'), which is Eq. 1 for n = 1 without R and bounds. A
    time limit is no termination: a truncated step bootstraps.

    Args:
        reward: Discounted sum of the rewards of the window of n steps, shape (B,).
        discount: γ^n, or 0 where the window ends with a termination, shape (B,).
        next_q: Target critics at (s', a'), s' being the observation after the window, shape (E, B).
        next_log_prob: log π(a'|s'), shape (B,).
        temperature: α, scalar.
        backup_entropy: Whether the entropy term is part of the target.
        floor: R, a return that was reached from (s, a) and that the target is not below, shape
            (B,); −∞ where none is known.
        lowest_return: Lower bound of every return; None for no bound.
        highest_return: Upper bound of every return (Hindsight Experience Replay,
            arXiv:1707.01495, clips at what the task can give); None for no bound.

    Returns:
        Shape (B,), without gradient.
    """
    with torch.no_grad():
        value = next_q.amin(dim=0)
        if backup_entropy:
            value = value - temperature * next_log_prob
        target = reward + discount * value
        if floor is not None:
            target = torch.maximum(target, floor)
        if lowest_return is None and highest_return is None:
            return target
        return target.clamp(min=lowest_return, max=highest_return)


def critic_loss(q: Tensor, target: Tensor) -> Tensor:
    """Squared error summed over the critics, averaged over the batch (Eq. 1).

    Args:
        q: Shape (E, B), Q_j(s, a).
        target: Shape (B,).

    Returns:
        Scalar.
    """
    return (q - target.detach()).square().sum(dim=0).mean()


def actor_loss(
    log_prob: Tensor,
    q: Tensor,
    temperature: Tensor | float,
    mask: Tensor | None = None,
    *,
    epsilon: float = 1e-8,
) -> Tensor:
    """Masked actor loss Σ I (α log π − min_j Q_j) / (Σ I + ε) (Eq. 2 without mask, Eq. 12 with).

    Args:
        log_prob: Shape (B,), log π(a|s) of reparametrised actions.
        q: Shape (B,), min_j Q_j(s, a).
        temperature: α, scalar; no gradient reaches it.
        mask: Boolean, shape (B,), the samples to learn from; all of them when None.
        epsilon: Keeps an empty mask from dividing by zero.

    Returns:
        Scalar.
    """
    if isinstance(temperature, Tensor):
        temperature = temperature.detach()
    loss = temperature * log_prob - q
    if mask is None:
        return loss.mean()
    weight = mask.to(loss.dtype)
    return (weight * loss).sum() / (weight.sum() + epsilon)


def temperature_loss(log_temperature: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """Temperature loss −mean(α (log π + H̄)), whose gradient goes to log α only.

    Args:
        log_temperature: log α, scalar parameter.
        log_prob: Shape (B,), over the whole batch (the mask does not apply).
        target_entropy: H̄ in nats, −d/2 by default.

    Returns:
        Scalar.
    """
    return -(log_temperature.exp() * (log_prob.detach() + target_entropy)).mean()
