"""Parameters in one vector behave as they did apart."""

import copy

import pytest
import torch
from torch import nn

from e2hil_rllib.learning.flat_parameters import FlatParameters


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 1))


def test_steps_equal_those_on_separate_parameters():
    flat_net, plain_net = network(), network()
    flat = FlatParameters(flat_net.parameters())
    optimizers = [torch.optim.Adam([flat.vector]), torch.optim.Adam(plain_net.parameters())]
    for _ in range(5):
        x = torch.randn(8, 3)
        for net, optimizer in zip((flat_net, plain_net), optimizers, strict=True):
            net(x).square().mean().backward()
            optimizer.step()
        flat.gradient.zero_()
        optimizers[1].zero_grad()
    for a, b in zip(flat_net.parameters(), plain_net.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7)


def test_loading_a_state_keeps_the_views():
    net, other = network(), network()
    flat = FlatParameters(net.parameters())
    for parameter in other.parameters():
        parameter.data += 1
    net.load_state_dict(other.state_dict())
    expected = torch.cat([p.reshape(-1) for p in other.parameters()])
    assert torch.equal(flat.vector, expected)


def test_the_average_moves_by_its_fraction():
    live, slow = (FlatParameters(copy.deepcopy(network()).parameters()) for _ in range(2))
    live.vector.data += 4
    before = slow.vector.clone()
    slow.move_towards(live, 0.25)
    assert torch.allclose(slow.vector, before + 1)


def test_the_gradient_is_clipped_to_its_norm():
    flat = FlatParameters(network().parameters())
    flat.gradient.fill_(2.0)
    norm = float(flat.gradient.norm())
    assert flat.clip_gradient(None) == flat.clip_gradient(2 * norm) == pytest.approx(norm)
    assert float(flat.gradient.norm()) == pytest.approx(norm)
    assert flat.clip_gradient(0.5) == pytest.approx(norm)
    assert float(flat.gradient.norm()) == pytest.approx(0.5, rel=1e-4)
