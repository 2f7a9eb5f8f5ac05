"""The influence estimate against exact entropy changes and closed forms."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from e2hil_rllib.method.influence import (
    influence_bounds,
    influence_values,
    log_influence_values,
    random_mask,
    selection_mask,
    soft_advantage,
)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    log_prob = torch.log_softmax(logits, -1)
    return -(log_prob.exp() * log_prob).sum(-1)


def test_one_exact_gradient_step_changes_the_entropy_as_predicted():
    """A tabular softmax policy after one step of size η on Eq. 2, against the predicted change."""
    generator = torch.Generator().manual_seed(0)
    alpha, eta = 0.1, 1e-4
    for _ in range(20):
        logits = torch.randn(6, generator=generator, dtype=torch.float64).requires_grad_()
        q = torch.randn(6, generator=generator, dtype=torch.float64)
        prob = torch.softmax(logits, -1)
        # The objective whose gradient on the logits is π A: g's own dependence on π drops out.
        objective = (prob * (q - alpha * torch.log(prob).detach())).sum()
        (gradient,) = torch.autograd.grad(objective, logits)
        with torch.no_grad():
            change = entropy(logits + eta * gradient) - entropy(logits)
            log_prob = torch.log_softmax(logits, -1)
            advantage = q - alpha * log_prob
            advantage = advantage - (prob * advantage).sum()
            product = prob * advantage
            covariance = (prob * log_prob * product).sum() - (prob * log_prob).sum() * (
                prob * product
            ).sum()
        assert change.item() == pytest.approx(-eta * covariance.item(), rel=0.01)


def test_estimate_converges_to_the_exact_covariance_of_a_softmax():
    """K draws of a 6-action softmax: bias and spread shrink to the exact value."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, generator=generator, dtype=torch.float64)
    q = torch.randn(6, generator=generator, dtype=torch.float64)
    prob, log_prob = torch.softmax(logits, -1), torch.log_softmax(logits, -1)
    g = q - 0.1 * log_prob
    product = prob * (g - (prob * g).sum())
    exact = -(
        (prob * log_prob * product).sum() - (prob * log_prob).sum() * (prob * product).sum()
    ).item()
    errors = []
    for k in (8, 64, 512, 4096):
        actions = torch.multinomial(prob, k * 2000, replacement=True, generator=generator)
        actions = actions.view(k, 2000)
        values = influence_values(log_prob[actions], q[actions], 0.1)
        errors.append((values - exact).square().mean().sqrt().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.04 * abs(exact)
    # A spread like 1/√K: eight times the draws, less than half the error.
    assert all(later < 0.5 * earlier for earlier, later in pairwise(errors))


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_estimate_converges_to_the_closed_form_of_a_gaussian(sigma):
    """π = N(0, σ²), Q = x², α = 0 gives c = 3σ / (16 √π)."""
    generator = torch.Generator().manual_seed(2)
    x = sigma * torch.randn(400_000, 4, generator=generator, dtype=torch.float64)
    log_prob = -0.5 * (x / sigma) ** 2 - math.log(sigma * math.sqrt(2 * math.pi))
    values = influence_values(log_prob, x**2, 0.0)
    assert values.numpy() == pytest.approx(3 * sigma / (16 * math.sqrt(math.pi)), rel=0.02)


def test_values_equal_a_float64_loop_and_carry_no_gradient():
    generator = torch.Generator().manual_seed(3)
    log_prob = torch.randn(8, 5, generator=generator).requires_grad_()
    q = torch.randn(8, 5, generator=generator).requires_grad_()
    values = influence_values(log_prob, q, torch.tensor(0.2))
    assert not values.requires_grad
    for b in range(5):
        lp, g = log_prob[:, b].double(), q[:, b].double() - 0.2 * log_prob[:, b].double()
        product = lp.exp() * (g - g.mean())
        expected = -((lp * product).mean() - lp.mean() * product.mean())
        assert values[b].item() == pytest.approx(expected.item(), rel=1e-4)


def test_density_is_clipped_before_it_multiplies():
    log_prob = torch.tensor([[20.0], [0.0]])
    q = torch.tensor([[1.0], [0.0]])
    product = torch.tensor([10 * 0.5, 1 * -0.5])
    expected = -((10 * (product[0] - product.mean()) - 10 * (product[1] - product.mean())) / 2)
    assert influence_values(log_prob, q, 0.0, density_clip=10.0).item() == pytest.approx(
        expected.item()
    )


def test_log_influence_has_no_density():
    log_prob = torch.tensor([[50.0, 1.0], [49.0, 0.0]])
    q = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    values = log_influence_values(log_prob, q, 0.0)
    assert values.tolist() == [-0.25, -0.25]


def test_soft_advantage_is_centred():
    advantage = soft_advantage(torch.randn(8, 3), torch.randn(8, 3), 0.5)
    assert advantage.mean(0).abs().max() < 1e-6


def test_bounds_are_percentiles_of_the_magnitude():
    influence = torch.arange(-50.0, 51.0)
    lower, upper = influence_bounds(influence, 5, 90)
    magnitude = influence.abs().numpy()
    assert (lower.item(), upper.item()) == pytest.approx(tuple(np.percentile(magnitude, (5, 90))))


def test_mask_keeps_both_bounds_and_drops_what_lies_outside():
    influence = torch.tensor([-3.0, -2.0, -1.0, 0.5, 1.0, 2.0, 2.5])
    mask = selection_mask(influence, 1.0, 2.0)
    assert mask.tolist() == [False, True, True, False, True, True, False]


@pytest.mark.parametrize(("lower", "upper", "kept"), [(0, 100, 100), (0, 90, 90), (5, 100, 95)])
def test_percentiles_0_and_100_switch_a_bound_off(lower, upper, kept):
    influence = torch.linspace(0.01, 1, 100)
    assert selection_mask(influence, *influence_bounds(influence, lower, upper)).sum() == kept


def test_random_mask_keeps_as_many():
    keep = torch.rand(256) < 0.8
    masks = [random_mask(keep, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert all(mask.sum() == keep.sum() for mask in masks)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], keep)


@pytest.mark.parametrize("bounds", [(-1, 90), (5, 101), (90, 5), (50, 50)])
def test_wrong_percentiles_are_refused(bounds):
    with pytest.raises(ValueError, match="0 <= lower < upper <= 100"):
        influence_bounds(torch.randn(10), *bounds)


def test_wrong_draws_are_refused():
    with pytest.raises(ValueError, match="at least K = 2"):
        influence_values(torch.zeros(1, 4), torch.zeros(1, 4), 0.1)
    with pytest.raises(ValueError, match="must both be"):
        influence_values(torch.zeros(8, 4), torch.zeros(8, 3), 0.1)
