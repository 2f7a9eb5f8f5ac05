"""Networks against torch's own distributions and layers."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from e2hil_rllib.networks.actor_critic import Actor, CriticEnsemble, Gaussian


def test_log_density_equals_the_transformed_distribution():
    """The network's std is a standard deviation, not a variance."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(16, 3, generator=generator, dtype=torch.float64)
    log_std = torch.randn(16, 3, generator=generator, dtype=torch.float64)
    action, log_prob = Gaussian(mean, log_std).sample(
        torch.randn(5, 16, 3, generator=generator, dtype=torch.float64) * 0.5
    )
    reference = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform(cache_size=0))
    assert torch.allclose(log_prob, reference.log_prob(action).sum(-1), atol=1e-6)


def test_log_density_stays_finite_far_out():
    policy = Gaussian(torch.tensor([[50.0, -50.0]]), torch.full((1, 2), 2.0))
    action, log_prob = policy.sample(torch.tensor([[5.0, -5.0]]))
    assert torch.isfinite(log_prob).all()
    assert action.abs().max() <= 1


def test_actor_clamps_log_std_and_its_mode_is_deterministic():
    actor = Actor(4, 2, (8,))
    actor.head.bias.data = torch.tensor([0.0, 0.0, 100.0, -100.0])
    policy = actor(torch.zeros(1, 4))
    assert policy.log_std[0].tolist() == [2.0, -5.0]
    assert torch.equal(policy.mode(), torch.tanh(policy.mean))


@pytest.fixture
def ensemble():
    torch.manual_seed(0)
    critics = CriticEnsemble(3, 6, 2, (16, 16))
    for parameter in critics.parameters():  # norms of their own for every member
        parameter.data += 0.1 * torch.randn_like(parameter)
    return critics


def reference_critic(critics: CriticEnsemble, j: int) -> nn.Sequential:
    """Member j out of torch's own layers."""

    def linear(weight, bias):
        layer = nn.Linear(weight.shape[0], weight.shape[1])
        layer.weight.data, layer.bias.data = weight.T.clone(), bias.reshape(-1).clone()
        return layer

    def norm(n):
        layer = nn.LayerNorm(n.size)
        layer.weight.data, layer.bias.data = n.scale[j, 0].clone(), n.shift[j, 0].clone()
        return layer

    first = torch.cat([critics.observation_weight[j], critics.action_weight[j]])
    hidden, hidden_norm = critics.hidden
    return nn.Sequential(
        linear(first.data, critics.bias[j].data), norm(critics.norm), nn.SiLU(),
        linear(hidden.weight[j].data, hidden.bias[j].data), norm(hidden_norm), nn.SiLU(),
        linear(critics.head.weight[j].data, critics.head.bias[j].data),
    )  # fmt: skip


@pytest.mark.parametrize("grad", [True, False])
def test_every_member_is_a_plain_network(ensemble, grad):
    latent, action = torch.randn(10, 6), torch.rand(10, 2) * 2 - 1
    with torch.set_grad_enabled(grad):
        q = ensemble(latent, action)
    for j in range(3):
        expected = reference_critic(ensemble, j)(torch.cat([latent, action], -1)).squeeze(-1)
        assert torch.allclose(q[j], expected, atol=1e-5)


def test_draws_share_the_observation_part_and_agree_with_single_actions(ensemble):
    latent, actions = torch.randn(10, 6), torch.rand(4, 10, 2) * 2 - 1
    with torch.no_grad():
        part = ensemble.observation_part(latent)
        before = part.clone()
        together = ensemble.from_observation_part(part, actions)
        assert together.shape == (3, 4, 10)
        assert torch.equal(part, before)  # what is shared is not worked on in place
        for k in range(4):
            assert torch.allclose(together[:, k], ensemble(latent, actions[k]), atol=1e-5)
