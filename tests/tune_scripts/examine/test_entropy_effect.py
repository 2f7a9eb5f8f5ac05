"""Exact effect of a sample on the entropy, against real steps."""

from __future__ import annotations

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.learning.rl_module import E2HiLTorchRLModule
from tune_scripts.examine.entropy_effect import entropy_effects

STEP = 1e-4
ROWS = [0, 3, 7]


class Spaces(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (5,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (3,), np.float32)


def module() -> E2HiLTorchRLModule:
    config = E2HiLConfig().training(hidden_sizes=[16], encoder_size=8).debugging(seed=3)
    config.human_in_the_loop(interventions=False, demonstration_fraction=0)
    config.environment(Spaces)
    built = config.get_rl_module_spec(env=Spaces()).build()
    assert isinstance(built, E2HiLTorchRLModule)
    return built.double()


def entropy(module: E2HiLTorchRLModule, latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return -module.policy(latent).sample(noise)[1].mean()


def test_effects_are_the_changes_of_real_steps():
    torch.set_default_dtype(torch.float64)
    try:
        whole = module()
        latent = torch.randn(8, whole.encoder.latent_size, generator=seeded(1))
        effects = entropy_effects(whole, latent, ROWS, 32, seeded(2))
        noise = torch.randn((32, 8, 3), generator=seeded(2))
        for row, own, on_all in zip(ROWS, effects.own, effects.whole, strict=True):
            moved = copy.deepcopy(whole)
            optimizer = torch.optim.SGD(moved.actor.parameters(), lr=STEP)
            one, drawn = latent[row : row + 1], noise[:, row : row + 1]
            actions, log_prob = moved.policy(one).sample(drawn)
            q = torch.stack([moved.critics(one, action).amin(dim=0) for action in actions])
            (moved.temperature * log_prob - q).mean().backward()
            optimizer.step()
            for predicted, states, draws in ((own, one, drawn), (on_all, latent, noise)):
                change = entropy(moved, states, draws) - entropy(whole, states, draws)
                assert predicted.item() == pytest.approx(change.item() / STEP, rel=1e-2, abs=1e-7)
        assert effects.own.abs().min() > 1e-6
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_module_stays_as_it_is():
    whole = module().float()
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    entropy_effects(whole, torch.randn(8, whole.encoder.latent_size), ROWS, 4, seeded(0))
    assert all(torch.equal(before[name], value) for name, value in whole.state_dict().items())
    assert all(parameter.grad is None for parameter in whole.parameters())
    assert all(parameter.requires_grad for parameter in whole.critics.parameters())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
