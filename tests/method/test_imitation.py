"""Imitation against closed forms."""

import pytest
import torch

from e2hil_rllib.method.imitation import ImitatedShare, human_is_better, imitation_loss


def test_the_loss_is_the_mean_squared_distance_over_all_human_rows():
    mean = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    human = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    loss = imitation_loss(mean, human, torch.tensor([True, True, False]))
    # The filtered row counts in the mean: fewer imitated rows weigh less in all.
    assert loss.item() == pytest.approx((2 + 1) / 3)
    loss.backward()
    assert mean.grad.tolist() == [pytest.approx(x) for x in ([-2 / 3, -2 / 3], [0, -2 / 3], [0, 0])]


def test_no_human_row_costs_nothing():
    empty = torch.zeros(0, 4)
    assert imitation_loss(empty, empty, torch.zeros(0, dtype=torch.bool)).item() == 0


def test_the_filter_compares_the_least_critic_of_each_and_keeps_ties():
    human = torch.tensor([[1.0, 0.5, 2.0], [3.0, 0.9, 0.1]])
    policy = torch.tensor([[2.0, 0.5, 0.2], [0.9, 0.6, 0.2]])
    assert human_is_better(human, policy).tolist() == [True, True, False]


def test_the_share_starts_at_one_and_follows_the_filter():
    share = ImitatedShare()
    assert share.value == 1
    assert share.update(0.5) == pytest.approx(0.995)
    for _ in range(1000):
        share.update(0.25)
    assert share.value == pytest.approx(0.25, abs=1e-3)
