"""The probe: an update's change of entropy, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from e2hil_rllib.learning.entropy_probe import EntropyProbe
from e2hil_rllib.networks.actor_critic import Actor, Gaussian


class Policy:
    """A module of which only the policy is there: a real actor."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.actor = Actor(5, 3, (16,))

    def policy(self, latent: torch.Tensor) -> Gaussian:
        return self.actor(latent)


def probe_of(module: Policy, draws: int = 8) -> EntropyProbe:
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn(64, 5, generator=generator)
    noise = torch.randn(draws, 64, 3, generator=generator)
    _, log_prob = module.policy(latent).sample(noise)
    return EntropyProbe(latent, noise, -log_prob.mean().item())


def test_nothing_changed_is_zero():
    module = Policy()
    assert probe_of(module).change(module) == 0


def test_a_wider_gaussian_has_as_much_more_entropy():
    """Before the tanh, d · ln 2 more for twice the spread; close to it where tanh is linear."""
    module = Policy()
    with torch.no_grad():
        module.actor.head.weight.zero_()
        module.actor.head.bias.copy_(torch.tensor([0.0] * 3 + [-4.5] * 3))
    probe = probe_of(module)
    with torch.no_grad():
        module.actor.head.bias[3:] += math.log(2)
    assert probe.change(module) == pytest.approx(3 * math.log(2), abs=2e-3)


def test_the_draw_cancels():
    """A small change is measured far below the noise of the entropies themselves."""
    module = Policy()
    few, many = probe_of(module, 8), probe_of(module, 4096)
    with torch.no_grad():
        for parameter in module.actor.parameters():
            parameter.add_(1e-3 * torch.randn(parameter.shape))
    noise = abs(few.before - many.before)
    exact = many.change(module)
    assert abs(few.change(module) - exact) < 0.05 * noise
    assert exact != 0
