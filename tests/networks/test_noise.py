"""The stream that learners share."""

import torch

from e2hil_rllib.networks.noise import NoiseStream


def test_the_shares_of_two_learners_are_the_draws_of_one():
    one, first, second = NoiseStream(5), NoiseStream(5, 0, 2), NoiseStream(5, 1, 2)
    half, whole = torch.zeros(4, 3), torch.zeros(8, 3)
    for draws, axis in ((None, 0), (6, 1), (None, 0)):
        parts = [stream.normal_like(half, draws) for stream in (first, second)]
        assert torch.equal(torch.cat(parts, axis), one.normal_like(whole, draws))
    assert torch.equal(first.subset(10, 3), second.subset(10, 3))


def test_the_seed_and_the_state_rule_the_draws():
    reference = torch.zeros(4, 3)
    stream, other = NoiseStream(1), NoiseStream(2)
    assert not torch.equal(stream.normal_like(reference), other.normal_like(reference))
    other.set_state(stream.state())
    assert torch.equal(stream.normal_like(reference), other.normal_like(reference))
    subset = stream.subset(10, 4)
    assert len(set(subset.tolist())) == 4
    assert subset.max() < 10
