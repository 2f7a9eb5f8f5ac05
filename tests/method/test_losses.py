"""The losses against closed forms."""

import math

import pytest
import torch

from e2hil_rllib.method.losses import actor_loss, critic_loss, critic_target, temperature_loss


def test_a_time_limit_bootstraps_and_a_termination_does_not():
    """Both rows end an episode; only the second terminates."""
    target = critic_target(
        torch.tensor([1.0, 1.0]),
        torch.tensor([0.9, 0.0]),
        next_q=torch.tensor([[2.0, 2.0], [3.0, 3.0]]),
        next_log_prob=torch.tensor([-1.0, -1.0]),
        temperature=0.5,
    )
    assert target.tolist() == pytest.approx([1 + 0.9 * (2 + 0.5), 1.0])


def test_backup_entropy_off_leaves_the_entropy_out():
    target = critic_target(
        torch.zeros(1), torch.tensor([0.9]), torch.ones(2, 1), torch.tensor([-1.0]), 0.5,
        backup_entropy=False,
    )  # fmt: skip
    assert target.item() == pytest.approx(0.9)


def test_no_target_is_beyond_the_bounds():
    terms = torch.tensor([0.0, 1.0]), torch.tensor([0.9, 0.0]), torch.tensor([[3.0, 0.0]])
    rest = {"next_log_prob": torch.tensor([-1.0, 0.0]), "temperature": 0.5}
    assert critic_target(*terms, **rest).tolist() == pytest.approx([0.9 * 3.5, 1.0])
    bounded = critic_target(*terms, **rest, highest_return=1.0)
    assert bounded.tolist() == pytest.approx([1.0, 1.0])
    low = critic_target(*terms, **rest, highest_return=0.5)
    assert low.tolist() == pytest.approx([0.5, 0.5])
    high = critic_target(*terms, **rest, lowest_return=2.0)
    assert high.tolist() == pytest.approx([0.9 * 3.5, 2.0])


def test_no_target_is_below_the_return_that_a_person_reached():
    target = critic_target(
        torch.zeros(3), torch.full((3,), 0.5), torch.ones(2, 3), torch.zeros(3), 0.1,
        floor=torch.tensor([-math.inf, 0.2, 0.8]), highest_return=0.7,
    )  # fmt: skip
    assert target.tolist() == pytest.approx([0.5, 0.5, 0.7])


def test_critic_loss_sums_over_critics_and_averages_over_the_batch():
    q = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    target = torch.tensor([0.0, 1.0], requires_grad=True)
    loss = critic_loss(q.requires_grad_(), target)
    assert loss.item() == pytest.approx((1 + 1) / 2 + (9 + 9) / 2)
    loss.backward()
    assert target.grad is None


def test_actor_loss_is_the_mean_over_the_kept_samples():
    log_prob, q = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.5, 0.5])
    mask = torch.tensor([True, False, True])
    assert actor_loss(log_prob, q, 0.1).item() == pytest.approx(0.2 - 0.5)
    assert actor_loss(log_prob, q, 0.1, mask).item() == pytest.approx((0.1 + 0.3) / 2 - 0.5)


def test_masked_samples_get_no_gradient_and_an_empty_mask_is_finite():
    q = torch.zeros(3, requires_grad=True)
    actor_loss(torch.zeros(3), q, 0.1, torch.tensor([True, False, True])).backward()
    assert q.grad.tolist() == pytest.approx([-0.5, 0.0, -0.5])
    assert actor_loss(torch.zeros(3), torch.ones(3), 0.1, torch.zeros(3, dtype=bool)).item() == 0


def test_temperature_moves_towards_the_target_entropy():
    """Entropy below the target raises α, above lowers it; the policy gets no gradient."""
    for entropy, sign in ((-3.0, 1), (-1.0, -1)):
        log_alpha = torch.tensor(0.0, requires_grad=True)
        log_prob = torch.full((4,), -entropy, requires_grad=True)
        temperature_loss(log_alpha, log_prob, target_entropy=-2.0).backward()
        assert torch.sign(-log_alpha.grad).item() == sign
        assert log_prob.grad is None


def test_actor_loss_does_not_train_the_temperature():
    temperature = torch.tensor(0.5, requires_grad=True)
    q = torch.zeros(2, requires_grad=True)
    actor_loss(torch.ones(2), q, temperature).backward()
    assert temperature.grad is None
