"""The policy in the robot's process acts as the learner's would, and takes no other one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.data.action_scale import ActionScale
from e2hil_rllib.external.protocol.codec import MessageError, decode, encode
from e2hil_rllib.external.protocol.spaces import describe
from e2hil_rllib.external.protocol.weights import Weights
from e2hil_rllib.external.robot.delivery import RefusedError
from e2hil_rllib.external.robot.policy import LocalPolicy
from tests.external.decoded import maps_like
from tests.external.protocol.test_codec import DTYPES

Box, Dict = gym.spaces.Box, gym.spaces.Dict
FLAT = Box(-2, 2, (3,), np.float32)
NAMED = Dict(state=FLAT, objects=Box(-1, 1, (2,), np.float32))
SEEING = Dict(state=FLAT, front=Box(0, 255, (32, 32, 3), np.uint8))
ACTIONS = Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))


def configured(seed: int = 0, **changes: Any) -> E2HiLConfig:
    sizes = {"hidden_sizes": (16, 16), "encoder_size": 8} | changes
    return E2HiLConfig().training(**sizes).debugging(seed=seed)


def made(space: gym.Space[Any] = NAMED, seed: int = 0, **changes: Any) -> LocalPolicy:
    return LocalPolicy(configured(**changes), space, ACTIONS, seed)


def learners_module(space: gym.Space[Any], seed: int = 7) -> Any:
    """RLlib's module as a learner has it, with other weights than a policy begins with."""
    spaces = {DEFAULT_MODULE_ID: (space, ACTIONS)}
    return configured(seed).get_multi_rl_module_spec(spaces=spaces).build()[DEFAULT_MODULE_ID]


def sent(module: Any, version: int = 1) -> Weights:
    """A module's parameters as a robot gets them."""
    state = module.get_state(inference_only=True)
    tensors = {name: np.array(value) for name, value in state.items()}
    message = Weights(version, 10 * version, 0.0, tensors).to_message()
    return Weights.from_message(decode(encode(message)))


def observations(space: gym.Space[Any], count: int) -> list[Any]:
    space.seed(0)
    return [space.sample() for _ in range(count)]


def batch_of(observation: Any) -> dict[str, Any]:
    if isinstance(observation, dict):
        return {Columns.OBS: {key: torch.from_numpy(x[None]) for key, x in observation.items()}}
    return {Columns.OBS: torch.from_numpy(observation[None])}


@pytest.mark.parametrize("space", [FLAT, NAMED, SEEING], ids=["flat", "named", "seeing"])
@pytest.mark.parametrize("explore", [False, True])
def test_it_acts_as_the_learners_module_would(space: gym.Space[Any], explore: bool) -> None:
    policy, module = made(space, seed=5), learners_module(space)
    policy.load(sent(module))
    module.seed_exploration(5)
    forward = module.forward_exploration if explore else module.forward_inference
    for observation in observations(space, 20):
        unit = forward(batch_of(observation))[Columns.ACTIONS][0].numpy()
        expected = ActionScale(ACTIONS).to_environment(unit)
        np.testing.assert_array_equal(
            policy.act(observation, explore), np.clip(expected, ACTIONS.low, ACTIONS.high)
        )


def test_its_actions_are_in_the_environments_box() -> None:
    policy = made(exploration_noise=1.0)
    taken = np.stack([policy.act(observation) for observation in observations(NAMED, 200)])
    assert taken.dtype == np.float32 and taken.shape == (200, 2)
    assert all(ACTIONS.contains(action) for action in taken)
    assert (taken.min(0) < [-1.5, 1]).all() and (taken.max(0) > [1.5, 9]).all()


def test_another_seed_explores_otherwise_and_the_same_one_the_same() -> None:
    one, same, other = (made(seed=seed) for seed in (1, 1, 2))
    (observation,) = observations(NAMED, 1)
    assert np.array_equal(one.act(observation), same.act(observation))
    assert not np.array_equal(one.act(observation), other.act(observation))
    assert np.array_equal(one.act(observation, False), other.act(observation, False))


def test_it_explores_with_the_noise_that_the_settings_say() -> None:
    """Without noise exploring is acting without exploration; half the noise is nearer to it."""
    seen = observations(NAMED, 20)
    quiet = np.array([made().act(x, explore=False) for x in seen])
    apart = []
    for noise in (0.0, 0.1, 1.0):
        policy = made(exploration_noise=noise)
        explored = np.array([policy.act(x, explore=True) for x in seen])
        apart.append(np.abs(explored - quiet).mean())
    assert apart[0] < 1e-6
    assert 0 < apart[1] < 0.5 * apart[2]


def test_the_newest_weights_act() -> None:
    policy = made()
    assert (policy.version, policy.updates) == (0, 0)
    (observation,) = observations(NAMED, 1)
    seen = [policy.act(observation, False)]
    for version, seed in ((4, 1), (5, 2), (1, 3)):
        policy.load(sent(learners_module(NAMED, seed), version))
        assert (policy.version, policy.updates) == (version, 10 * version)
        seen.append(policy.act(observation, False))
    assert len({tuple(action) for action in seen}) == 4


@pytest.mark.parametrize(
    ("module", "fault"),
    [
        (learners_module(Dict(state=FLAT)), "lacks 'target_encoder.parts.objects"),
        (
            learners_module(Dict(state=FLAT, objects=Box(-1, 1, (4,), np.float32))),
            "'target_encoder.parts.objects.*has shape",
        ),
    ],
    ids=["fewer", "wider"],
)
def test_the_weights_of_another_network_are_refused_and_leave_the_policy_as_it_was(
    module: Any, fault: str
) -> None:
    policy = made()
    (observation,) = observations(NAMED, 1)
    before = policy.act(observation, False)
    with pytest.raises(RefusedError, match=f"The learner's policy does not fit: .*{fault}"):
        policy.load(sent(module))
    assert policy.version == 0
    np.testing.assert_array_equal(policy.act(observation, False), before)


def welcome(observed: gym.Space[Any] = NAMED, taken: gym.Space[Any] = ACTIONS) -> dict[str, Any]:
    """What a learner of these spaces says of its policy."""
    return {
        "type": "WELCOME",
        "spaces": {"observations": describe(observed), "actions": describe(taken)},
        "trunk": "",
    }


def test_a_policy_of_the_same_spaces_is_taken() -> None:
    made().check(decode(encode(welcome())))
    made(FLAT).check(decode(encode(welcome(FLAT))))


def test_every_difference_is_named_with_what_to_do() -> None:
    told = welcome(Dict(state=FLAT), Box(-1, 1, (2,), np.float32)) | {"trunk": "f00d"}
    with pytest.raises(RefusedError) as error:
        made().check(told)
    assert str(error.value).split(": ", 1) == [
        "The learner's policy is made for another environment",
        "observations: 'objects' is here only; "
        "actions: low [-2.,  0.] here, [-1.] at the learner; "
        "actions: high [ 2., 10.] here, [1.] at the learner; "
        "vision: the frozen trunk's weights are none here and f00d at the learner. "
        "Give learner and robot the same settings file.",
    ]


def test_a_frozen_trunk_must_have_the_same_weights() -> None:
    config = configured().vision(encoder="frozen", trunk_weights="seed:1")
    policy = LocalPolicy(config, SEEING, ACTIONS, 0)
    with pytest.raises(RefusedError, match=r"weights are \w{8,} here and none at the learner"):
        policy.check(welcome(SEEING))
    with pytest.raises(RefusedError, match=r"weights are \w{8,} here and f00d at the learner"):
        policy.check(welcome(SEEING) | {"trunk": "f00d"})


def test_a_learner_with_another_trunk_or_stage_is_named() -> None:
    config = configured().vision(encoder="frozen", trunk="efficientnet_lite0", stride=8)
    policy = LocalPolicy(config, SEEING, ACTIONS, 0)
    told = {"trunk": "efficientnet_lite0-stride16-f00d"}
    with pytest.raises(
        RefusedError, match=r"lite0-stride8-\w+ here and eff\w+-stride16-f00d at the l"
    ):
        policy.check(welcome(SEEING) | told)


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({}, "observations are described by None"),
        (welcome() | {"spaces": None}, "observations are described by None"),
        (welcome() | {"spaces": {"observations": 3}}, "observations are described by 3"),
        (welcome() | {"trunk": np.zeros(2)}, "the frozen trunk is array.*expected a fingerprint"),
    ],
)
def test_a_learner_that_describes_no_policy_is_malformed(told: dict[str, Any], fault: str) -> None:
    with pytest.raises(MessageError, match=fault):
        made().check(told)


ANY_POLICY = made()
STATE = {name: np.array(value) for name, value in ANY_POLICY._module.state_dict().items()}


@given(
    maps_like(welcome()) | maps_like(welcome()["spaces"]).map(lambda it: welcome() | {"spaces": it})
)
@settings(max_examples=150, deadline=None)
def test_whatever_a_learner_says_of_itself_fits_is_refused_or_malformed(
    told: dict[str, Any],
) -> None:
    try:
        ANY_POLICY.check(told)
    except (RefusedError, MessageError):
        return
    assert told["spaces"].keys() >= {"observations", "actions"} and told["trunk"] == ""


@st.composite
def states(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters as they should be, but of any type, or not quite as they should be."""
    dtype = draw(st.sampled_from(DTYPES))
    converted = {name: value.astype(dtype) for name, value in STATE.items()}
    return draw(maps_like(STATE)) if draw(st.booleans()) else converted


@given(states())
@settings(max_examples=40, deadline=None)
def test_whatever_comes_as_weights_is_refused_or_acts(tensors: dict[str, Any]) -> None:
    message = Weights(1, 1, 0.0, tensors).to_message()
    try:
        ANY_POLICY.load(Weights.from_message(message))
    except (RefusedError, MessageError):
        return
    for observation in observations(NAMED, 3):
        assert ACTIONS.contains(ANY_POLICY.act(observation, False))


def test_actions_that_are_no_box_cannot_be_learned() -> None:
    with pytest.raises(ValueError, match="finite bounds"):
        LocalPolicy(configured(), NAMED, Box(-np.inf, np.inf, (2,), np.float32), 0)
