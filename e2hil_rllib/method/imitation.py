"""Imitation: what a takeover says directly, namely what to do in this state.

A soft actor-critic learns from a takeover only through its critics. The term here adds behaviour
cloning on the rows that a human led, as long as the critics do not know better (Q filter: Nair et
al., arXiv:1709.10089), with a weight that fades as they do.
"""

from __future__ import annotations

import torch
from torch import Tensor


def imitation_loss(mean_action: Tensor, human_action: Tensor, imitated: Tensor) -> Tensor:
    """Imitation loss mean_{i∈H} f_i ‖tanh μ(s_i) − a_i‖².

    Args:
        mean_action: tanh μ(s) of the human rows H, shape (N, d).
        human_action: a, what the human did, in [−1, 1]^d, shape (N, d).
        imitated: f, whether a row is imitated, shape (N,).

    Returns:
        Scalar; 0 where N is 0.
    """
    error = (mean_action - human_action).square().sum(dim=-1)
    return (imitated.to(error.dtype) * error).sum() / max(1, len(error))


@torch.no_grad()
def human_is_better(human_q: Tensor, policy_q: Tensor) -> Tensor:
    """Q filter f = 1[min_j Q_j(s, a) ≥ min_j Q_j(s, tanh μ(s))].

    Args:
        human_q: Q_j(s, a) of the human's actions, shape (E, N).
        policy_q: Q_j(s, tanh μ(s)) of the policy's most likely actions, shape (E, N).

    Returns:
        Boolean, shape (N,).
    """
    return human_q.amin(dim=0) >= policy_q.amin(dim=0)


class ImitatedShare:
    """Running mean ρ of the Q filter, by which the imitation weight fades.

    ρ ← (1 − κ) ρ + κ · mean(f) with κ = 0.01. It starts at 1: nothing is known to be better than
    the human.
    """

    _RATE = 0.01

    def __init__(self) -> None:
        #: ρ, in [0, 1].
        self.value = 1.0

    def update(self, imitated: float) -> float:
        """Take in the imitated share of a minibatch's human rows, and return ρ."""
        self.value += self._RATE * (imitated - self.value)
        return self.value
