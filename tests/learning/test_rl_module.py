"""The module: what it acts with, what it keeps for learning, what it refuses to load."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.learning.rl_module import E2HiLTorchRLModule

BOX = gym.spaces.Box(-1, 1, (3,), np.float32)
ACTIONS = gym.spaces.Box(-1, 1, (2,), np.float32)


def build(observation_space=BOX, action_space=ACTIONS, *, inference_only=False, seed=0, **training):
    config = E2HiLConfig().training(hidden_sizes=(16, 16), encoder_size=8, **training)
    return RLModuleSpec(
        E2HiLTorchRLModule, observation_space, action_space,
        inference_only=inference_only, model_config=config.debugging(seed=seed).model_config,
    ).build()  # fmt: skip


def test_acting_is_deterministic_without_exploration_and_seeded_with_it():
    """Without exploration the mode acts; one seed of exploration gives one sequence of actions."""
    module = build()
    batch = {Columns.OBS: torch.rand(4, 3)}
    quiet = [module.forward_inference(batch)[Columns.ACTIONS] for _ in range(2)]
    assert torch.equal(*quiet)
    mode = module.policy(module.encoder(batch[Columns.OBS])).mode()
    assert torch.equal(quiet[0], mode)
    noisy = []
    for seed in (1, 1, 2):
        module.seed_exploration(seed)
        noisy.append(module.forward_exploration(batch)[Columns.ACTIONS])
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2])
    assert noisy[0].abs().max() <= 1


def test_exploration_noise_is_a_factor_on_the_noise_of_acting():
    """At 0 the policy explores with its mode; half the noise is half the way before the tanh."""
    batch = {Columns.OBS: torch.rand(4, 3)}
    before_tanh = []
    for factor in (0.0, 0.5, 1.0):
        module = build(exploration_noise=factor)
        module.seed_exploration(1)
        mean = module.policy(module.encoder(batch[Columns.OBS])).mean
        acted = module.forward_exploration(batch)[Columns.ACTIONS]
        before_tanh.append(torch.atanh(acted) - mean)
    assert before_tanh[0].abs().max() < 1e-6
    assert torch.allclose(2 * before_tanh[1], before_tanh[2], atol=1e-4)


def test_one_seed_gives_one_initialisation():
    states = [build(seed=seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["actor.head.weight"], states[2]["actor.head.weight"])


def test_the_target_starts_as_a_copy_of_critics_and_encoder():
    module = build(num_critics=5)
    assert module.critics.head.weight.shape[0] == 5
    for live, slow in ((module.encoder, module.target_encoder),
                       (module.critics, module.target_critics)):  # fmt: skip
        for a, b in zip(live.parameters(), slow.parameters(), strict=True):
            assert torch.equal(a, b)
            assert not b.requires_grad
            assert a.data_ptr() != b.data_ptr()


def test_the_actor_reads_detached_latents():
    module = build()
    latent = module.encoder(torch.rand(4, 3))
    module.policy(latent).mode().sum().backward()
    assert all(p.grad is None for p in module.encoder.parameters())
    assert module.actor.head.weight.grad is not None


@pytest.mark.parametrize("averaged", [False, True])
def test_an_acting_copy_takes_its_part_of_the_state(averaged):
    module = build(initial_alpha=0.02, averaged_policy=averaged)
    acting = build(inference_only=True, seed=9, averaged_policy=averaged)
    assert not hasattr(acting, "critics")
    assert hasattr(acting, "encoder") is not averaged
    acting.set_state(module.get_state(inference_only=True))
    batch = {Columns.OBS: torch.rand(4, 3)}
    assert torch.equal(
        module.forward_inference(batch)[Columns.ACTIONS],
        acting.forward_inference(batch)[Columns.ACTIONS],
    )
    assert module.temperature.item() == pytest.approx(0.02)


def test_an_averaged_policy_acts_with_the_target_networks():
    module = build(averaged_policy=True)
    batch = {Columns.OBS: torch.rand(4, 3)}
    acted = module.forward_inference(batch)[Columns.ACTIONS]
    for learned in (module.actor, module.encoder):
        for parameter in learned.parameters():
            parameter.data += 1
    assert torch.equal(acted, module.forward_inference(batch)[Columns.ACTIONS])
    module.target_actor.head.bias.data += 1
    assert not torch.equal(acted, module.forward_inference(batch)[Columns.ACTIONS])


def test_an_average_that_a_saved_module_lacks_begins_with_its_actor():
    saved, module = build(averaged_policy=False), build(averaged_policy=True, seed=9)
    module.set_state(saved.get_state())
    batch = {Columns.OBS: torch.rand(4, 3)}
    assert torch.equal(
        module.forward_inference(batch)[Columns.ACTIONS],
        saved.forward_inference(batch)[Columns.ACTIONS],
    )


def test_states_of_other_spaces_are_refused_by_name():
    state = build().get_state()
    with pytest.raises(ValueError, match=r"'encoder.parts.state.0.center' has shape \(3,\)"):
        build(gym.spaces.Box(-1, 1, (4,), np.float32)).set_state(state)
    with pytest.raises(ValueError, match=r"lacks 'encoder.parts.objects"):
        build(gym.spaces.Dict(state=BOX, objects=BOX)).set_state(state)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gym.spaces.Discrete(3), "must be a Box"),
        (gym.spaces.Box(-np.inf, np.inf, (2,)), "needs finite bounds"),
    ],
)
def test_action_spaces_that_do_not_work_are_refused(space, message):
    with pytest.raises(ValueError, match=message):
        build(action_space=space)
