"""The learner on frames: who trains the encoder, its average, and what is shifted or dropped."""

import numpy as np
import pytest
import torch
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.networks.observation_encoder import ObservationEncoder, stored_spaces
from tests.helpers import SeeingReachEnv

B = 8


def build_group(encoder, **selection):
    config = (
        E2HiLConfig()
        .preset("e2hil_paper")
        .environment("tests.helpers:E2HiLSeeingReach-v0")
        .entropy_selection(**({"enabled": False} | selection))
        .vision(encoder=encoder)
        .training(hidden_sizes=(32, 32), encoder_size=16, train_batch_size_per_learner=B)
        .debugging(seed=0)
    )
    return config.build_learner_group(env=SeeingReachEnv())


def make_batch(group, rows):
    config = group._learner.config
    generator = np.random.default_rng(0)

    def observation():
        columns = {}
        spaces = stored_spaces(SeeingReachEnv().observation_space, config.vision_settings)
        for key, (shape, dtype) in spaces.items():
            numbers = generator.uniform(0, 1 if dtype != np.uint8 else 255, (rows, *shape))
            columns[key] = torch.from_numpy(numbers.astype(dtype))
        return columns

    return {
        "obs": observation(), "new_obs": observation(),
        "actions": torch.rand(rows, 2), "rewards": torch.rand(rows),
        "discounts": torch.full((rows,), 0.97), "floors": torch.full((rows,), -torch.inf),
        "source": torch.zeros(rows, dtype=torch.uint8),
        "episode": torch.zeros(rows, dtype=torch.int64), "step": torch.arange(rows),
    }  # fmt: skip


def update(group, columns):
    batch = MultiAgentBatch({"default_policy": SampleBatch(columns)}, len(columns["rewards"]))
    group.update(batch=batch, minibatch_size=B, timesteps={}, _no_metrics_reduce=True)


def camera_parameters(encoder):
    return {k: v.detach().clone() for k, v in encoder.named_parameters() if "front" in k}


@pytest.mark.parametrize("encoder", ["cnn", "frozen"])
def test_every_camera_parameter_learns_and_the_target_averages_it(encoder):
    """No camera parameter is left out of the optimizer or of the target's average."""
    group = build_group(encoder)
    learner = group._learner
    module = learner._e2hil_module("default_policy")
    before = camera_parameters(module.encoder)
    target_before = camera_parameters(module.target_encoder)
    update(group, make_batch(group, B))
    after, target = camera_parameters(module.encoder), camera_parameters(module.target_encoder)
    tau = learner.config.tau
    for name, value in after.items():
        assert not torch.equal(value, before[name]), name
        expected = target_before[name] + tau * (value - target_before[name])
        torch.testing.assert_close(target[name], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("encoder", ["cnn", "frozen"])
def test_the_actor_sends_no_gradient_into_the_camera_encoder(encoder):
    group = build_group(encoder)
    learner = group._learner
    module = learner._e2hil_module("default_policy")
    batch = make_batch(group, B)
    latent = module.encoder(batch["obs"])
    part = module.critics.observation_part(latent).detach()
    q = module.critics.from_observation_part(part, batch["actions"]).detach()
    losses = learner._actor_losses(module, learner.config, latent, part, batch, q)
    sum(losses.values()).backward()
    assert all(not p.grad.any() for p in module.encoder.parameters())
    assert any(p.grad.any() for p in module.actor.parameters())


def test_state_and_next_state_are_shifted_independently(monkeypatch):
    group = build_group("cnn")
    shifted = []
    original = ObservationEncoder.augment

    def augment(self, observation, noise):
        result = original(self, observation, noise)
        shifted.append((observation["front"], result["front"]))
        return result

    monkeypatch.setattr(ObservationEncoder, "augment", augment)
    columns = make_batch(group, B)
    columns["new_obs"] = columns["obs"]
    update(group, columns)
    (state, state_shifted), (next_state, next_shifted) = shifted
    assert torch.equal(state, next_state)
    assert not torch.equal(state_shifted, next_shifted)
    assert state_shifted.shape == state.shape


def test_the_bellman_target_is_without_dropout(monkeypatch):
    group = build_group("frozen")
    calls = []
    original = ObservationEncoder.forward

    def forward(self, observation, noise=None):
        calls.append((self, noise is not None))
        return original(self, observation, noise)

    monkeypatch.setattr(ObservationEncoder, "forward", forward)
    update(group, make_batch(group, B))
    module = group._learner._e2hil_module("default_policy")
    assert [(e is module.encoder, drops) for e, drops in calls] == [
        (True, True), (True, False), (False, False),
    ]  # fmt: skip


def test_the_influence_estimate_shares_one_encoding_over_its_actions(monkeypatch):
    encodings = []
    original = ObservationEncoder.forward

    def forward(self, observation, noise=None):
        encodings.append(len(observation["front"]))
        return original(self, observation, noise)

    monkeypatch.setattr(ObservationEncoder, "forward", forward)
    group = build_group("frozen", enabled=True, num_action_samples=8)
    columns = make_batch(group, 2 * B)
    update(group, columns)
    assert encodings == [B] * 6  # three for each of the two minibatches, with K draws or without


def test_influence_statistics_leave_learning_as_it_is_with_dropout_and_shifts():
    """Diagnostics draw from a stream of their own."""
    states = []
    for interval in (1, 10**6):
        group = build_group("cnn", diagnostics_interval=interval)
        update(group, make_batch(group, 4 * B))
        module = group._learner._e2hil_module("default_policy")
        states.append({k: v.clone() for k, v in module.state_dict().items()})
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
