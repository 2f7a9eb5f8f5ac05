"""Networks of the actor and the critic ensemble."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

LOG_STD_MIN = -5.0
LOG_STD_MAX = 2.0

Dropout = Callable[[Tensor], Tensor]
"""Sets activations (B, n) to zero at random, and scales the others up."""


class MLP(nn.Sequential):
    """Linear, LayerNorm, SiLU for every hidden layer."""

    def __init__(self, input_size: int, hidden_sizes: Sequence[int]):
        layers: list[nn.Module] = []
        for size in hidden_sizes:
            layers += [nn.Linear(input_size, size), nn.LayerNorm(size), nn.SiLU()]
            input_size = size
        super().__init__(*layers)

    def forward(self, x: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Activations (B, hidden_sizes[-1]) of inputs (B, input_size).

        Args:
            x: The input.
            dropout: Applied to the activations of every hidden layer.
        """
        for layer in self:
            x = layer(x)
            if dropout is not None and isinstance(layer, nn.SiLU):
                x = dropout(x)
        return x


class Gaussian(NamedTuple):
    """A diagonal Gaussian before the tanh: mean and log standard deviation, each (B, d)."""

    mean: Tensor
    log_std: Tensor

    def sample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reparametrised tanh-squashed actions and their log density.

        With u = mean + std·ε, a = tanh(u):
        log π(a) = Σ [−ε²/2 − log std − log √(2π) − log(1 − tanh²u)], where
        log(1 − tanh²u) = 2 (log 2 − u − softplus(−2u)) stays finite for every u.

        Args:
            noise: Standard normal, shape (..., B, d).

        Returns:
            Actions in (−1, 1), shape (..., B, d), and log densities, shape (..., B).
        """
        pre_tanh = torch.addcmul(self.mean, self.log_std.exp(), noise)
        log_jacobian = 2 * (math.log(2) - pre_tanh - F.softplus(-2 * pre_tanh))
        log_prob = (-0.5 * noise.square() - self.log_std - log_jacobian).sum(dim=-1)
        log_prob = log_prob - noise.shape[-1] * 0.5 * math.log(2 * math.pi)
        return torch.tanh(pre_tanh), log_prob

    def mode(self) -> Tensor:
        """The deterministic action tanh(mean), shape (B, d)."""
        return torch.tanh(self.mean)


class Actor(nn.Module):
    """Tanh-squashed Gaussian policy over a latent, with log-std in [−5, 2]."""

    def __init__(self, latent_size: int, action_size: int, hidden_sizes: Sequence[int]):
        super().__init__()
        self.action_size = action_size
        self.body = MLP(latent_size, hidden_sizes)
        self.head = nn.Linear(hidden_sizes[-1], 2 * action_size)

    @torch.no_grad()
    def set_standard_deviation(self, value: float) -> None:
        """Set the bias of log std to one value, about which the states vary."""
        self.head.bias[self.action_size :] = math.log(value)

    def forward(self, latent: Tensor, dropout: Dropout | None = None) -> Gaussian:
        """Policy at a latent, shape (B, L); with dropout in the hidden layers where it is given."""
        mean, log_std = self.head(self.body(latent, dropout)).chunk(2, dim=-1)
        return Gaussian(mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX))


class EnsembleLinear(nn.Module):
    """E linear maps as one batched matmul, each initialised like ``nn.Linear``."""

    def __init__(self, num_members: int, input_size: int, output_size: int):
        super().__init__()
        bound = 1 / math.sqrt(input_size)
        self.weight = nn.Parameter(
            torch.empty(num_members, input_size, output_size).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.empty(num_members, 1, output_size).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map (E, N, in) to (E, N, out)."""
        return torch.baddbmm(self.bias, x, self.weight)


class EnsembleNorm(nn.Module):
    """LayerNorm with E sets of scale and shift, then SiLU."""

    def __init__(self, num_members: int, size: int):
        super().__init__()
        self.size = size
        self.scale = nn.Parameter(torch.ones(num_members, 1, size))
        self.shift = nn.Parameter(torch.zeros(num_members, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, scale and activate (E, N, size)."""
        normed = F.layer_norm(x, (self.size,))
        if torch.is_grad_enabled():
            return F.silu(torch.addcmul(self.shift, normed, self.scale))
        return F.silu(normed.mul_(self.scale).add_(self.shift), inplace=True)


class CriticEnsemble(nn.Module):
    """E critics Q_j(s, a) over one latent, evaluated together.

    The first layer is split into an observation and an action part, so that several actions of
    one state (the K draws of the influence estimate, the actor's action) share the first.
    """

    def __init__(
        self, num_critics: int, latent_size: int, action_size: int, hidden_sizes: Sequence[int]
    ):
        super().__init__()
        self.num_critics = num_critics
        first = EnsembleLinear(num_critics, latent_size + action_size, hidden_sizes[0])
        self.observation_weight = nn.Parameter(first.weight.detach()[:, :latent_size].clone())
        self.action_weight = nn.Parameter(first.weight.detach()[:, latent_size:].clone())
        self.bias = first.bias
        self.norm = EnsembleNorm(num_critics, hidden_sizes[0])
        self.hidden = nn.ModuleList()
        for size_in, size_out in pairwise(hidden_sizes):
            self.hidden.append(EnsembleLinear(num_critics, size_in, size_out))
            self.hidden.append(EnsembleNorm(num_critics, size_out))
        self.head = EnsembleLinear(num_critics, hidden_sizes[-1], 1)

    def observation_part(self, latent: Tensor) -> Tensor:
        """First layer's share of the latent: (B, L) -> (E, B, H)."""
        return torch.baddbmm(
            self.bias, latent.expand(self.num_critics, -1, -1), self.observation_weight
        )

    def from_observation_part(self, observation_part: Tensor, action: Tensor) -> Tensor:
        """Q-values of actions at states whose observation part is known.

        Args:
            observation_part: Shape (E, B, H), from :meth:`observation_part`.
            action: Shape (B, d) or, for K actions of each state, (K, B, d).

        Returns:
            Shape (E, B) or (E, K, B).
        """
        members, batch, width = observation_part.shape
        draws = action.shape[:-1]
        flat = action.reshape(-1, action.shape[-1]).expand(members, -1, -1)
        if action.ndim == 2:
            x = torch.baddbmm(observation_part, flat, self.action_weight)
        else:
            x = torch.bmm(flat, self.action_weight).view(members, -1, batch, width)
            x = x.add_(observation_part.unsqueeze(1)).view(members, -1, width)
        x = self.norm(x)
        for layer in self.hidden:
            x = layer(x)
        return self.head(x).view(members, *draws)

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Q-values (E, B) of latents (B, L) and actions (B, d)."""
        return self.from_observation_part(self.observation_part(latent), action)


@contextmanager
def frozen_parameters(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through a module without reaching its parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
