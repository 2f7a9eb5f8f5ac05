"""The maths of E2HiL's learner as a plain torch loop: the yardstick, written straight down.

No sharing between the terms: every critic is its own network, its input is concatenated, and the
K draws of the influence estimate repeat each state K times.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn


class PlainRing:
    """A flat ring of transitions with both observations in each row."""

    def __init__(self, rows: int, sizes: dict[str, int], action_size: int, seed: int):
        self.generator = np.random.default_rng(seed)
        draw = self.generator.standard_normal
        self.obs = {k: draw((rows, n)).astype(np.float32) for k, n in sizes.items()}
        self.next_obs = {k: draw((rows, n)).astype(np.float32) for k, n in sizes.items()}
        self.action = np.tanh(draw((rows, action_size))).astype(np.float32)
        self.reward = (draw(rows) > 2).astype(np.float32)
        self.terminated = self.reward.copy()

    def sample(self, size: int) -> tuple[dict, Tensor, Tensor, Tensor, dict]:
        i = self.generator.integers(0, len(self.reward), size)
        take = torch.from_numpy
        return (
            {k: take(x[i]) for k, x in self.obs.items()},
            take(self.action[i]),
            take(self.reward[i]),
            take(self.terminated[i]),
            {k: take(x[i]) for k, x in self.next_obs.items()},
        )


class Encoder(nn.Module):
    def __init__(self, sizes: dict[str, int], width: int = 256):
        super().__init__()
        self.parts = nn.ModuleDict(
            {
                k: nn.Sequential(nn.Linear(n, width), nn.LayerNorm(width), nn.Tanh())
                for k, n in sizes.items()
            }
        )

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        return torch.cat([part(obs[k]) for k, part in self.parts.items()], dim=-1)


def mlp(size: int, out: int, width: int = 256) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(size, width), nn.LayerNorm(width), nn.SiLU(),
        nn.Linear(width, width), nn.LayerNorm(width), nn.SiLU(),
        nn.Linear(width, out),
    )  # fmt: skip


class PlainLearner:
    """SAC with UTD, demonstrations aside, and the optional influence mask."""

    def __init__(self, sizes: dict[str, int], action_size: int, *, select: bool, num_critics=2):
        self.select, self.action_size = select, action_size
        self.encoder = Encoder(sizes)
        latent = 256 * len(sizes)
        self.actor = mlp(latent, 2 * action_size)
        self.critics = nn.ModuleList([mlp(latent + action_size, 1) for _ in range(num_critics)])
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(0.01)))
        self.critic_params = [*self.encoder.parameters(), *self.critics.parameters()]
        self.groups = [self.critic_params, list(self.actor.parameters()), [self.log_alpha]]
        self.optimizers = [torch.optim.Adam(p, lr=3e-4, fused=True) for p in self.groups]

    def policy(self, latent: Tensor, draws: int = 1) -> tuple[Tensor, Tensor]:
        mean, log_std = self.actor(latent).chunk(2, dim=-1)
        std = log_std.clamp(-5, 2).exp()
        noise = torch.randn(draws, *mean.shape)
        u = mean + std * noise
        log_prob = (-0.5 * noise**2 - std.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
        log_prob -= (2 * (math.log(2) - u - nn.functional.softplus(-2 * u))).sum(-1)
        return torch.tanh(u), log_prob

    def q(self, critics: nn.ModuleList, latent: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([latent, action], dim=-1)
        return torch.stack([critic(x).squeeze(-1) for critic in critics])

    def mask(self, latent: Tensor, alpha: Tensor, k: int = 8) -> Tensor:
        with torch.no_grad():
            action, log_prob = self.policy(latent, k)
            repeated = latent.repeat(k, 1)
            q = self.q(self.critics, repeated, action.reshape(-1, self.action_size))
            g = q.amin(0).view(k, -1) - alpha * log_prob
            weighted = log_prob.exp().clamp(max=1e6) * (g - g.mean(0))
            c = ((log_prob - log_prob.mean(0)) * (weighted - weighted.mean(0))).mean(0).abs()
            low, high = torch.quantile(c, torch.tensor([0.05, 0.9]))
            return ((c >= low) & (c <= high)).float()

    def update(self, batch: tuple, *, full: bool) -> None:
        obs, action, reward, terminated, next_obs = batch
        alpha = self.log_alpha.detach().exp()
        with torch.no_grad():
            next_action, next_log_prob = self.policy(self.encoder(next_obs))
            next_q = self.q(self.target_critics, self.target_encoder(next_obs), next_action[0])
            value = next_q.amin(0) - alpha * next_log_prob[0]
            target = reward + 0.97 * (1 - terminated) * value
        latent = self.encoder(obs)
        loss = ((self.q(self.critics, latent, action) - target) ** 2).mean(1).sum()
        if full:
            detached = latent.detach()
            new_action, log_prob = self.policy(detached)
            self.critics.requires_grad_(False)
            q = self.q(self.critics, detached, new_action[0]).amin(0)
            self.critics.requires_grad_(True)
            term = alpha * log_prob[0] - q
            mask = self.mask(detached, alpha) if self.select else torch.ones_like(term)
            loss = loss + (mask * term).sum() / (mask.sum() + 1e-8)
            loss = (
                loss - (self.log_alpha.exp() * (log_prob[0].detach() - self.action_size / 2)).mean()
            )
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for params, optimizer in zip(self.groups, self.optimizers, strict=True):
            if params[0].grad is not None:
                nn.utils.clip_grad_norm_(params, 40.0)
                optimizer.step()
        with torch.no_grad():
            live = self.critic_params
            slow = [*self.target_encoder.parameters(), *self.target_critics.parameters()]
            torch._foreach_lerp_(slow, live, 0.005)
