"""Episodes that RLlib made arrive equal; states that it could not have made are refused."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tree
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.examples.rl_modules.classes.random_rlm import RandomRLModule

from e2hil_rllib.external.protocol.codec import MessageError, decode, encode
from e2hil_rllib.external.rllink.episode_states import episode_from_state

CARTPOLE = gym.make("CartPole-v1")


class ImageEnv(gym.Env):
    """A camera image and a state; episodes of 7 steps that end by truncation."""

    observation_space = gym.spaces.Dict(
        front=gym.spaces.Box(0, 255, (8, 6, 3), np.uint8),
        state=gym.spaces.Box(-1, 1, (3,), np.float32),
    )
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, config: Any = None) -> None:
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.steps = 0
        return self.observation_space.sample(), {"task": "touch", "is_intervention": False}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        info = {"action": action, "keys": ["space"], "is_intervention": self.steps % 2 == 0}
        return self.observation_space.sample(), 0.5, False, self.steps == 7, info


class RandomModule(RandomRLModule):
    """RLlib's, with what an env runner asks of a module since then."""

    framework = "torch"

    def to(self, device: Any) -> RandomModule:
        return self


def rollout(env: Any, *, to_numpy: bool, lookback: int) -> list[SingleAgentEpisode]:
    """Chunks that RLlib's own env runner samples: whole episodes and cut ones."""
    config = PPOConfig().environment(env).env_runners(
        num_env_runners=0, episodes_to_numpy=to_numpy, episode_lookback_horizon=lookback
    ).debugging(seed=0)  # fmt: skip
    if env is ImageEnv:
        config.rl_module(rl_module_spec=RLModuleSpec(module_class=RandomModule))
    runner = SingleAgentEnvRunner(config=config, worker_index=0)
    chunks = [chunk for _ in range(3) for chunk in runner.sample(num_timesteps=12)]
    runner.stop()
    assert any(chunk.t_started > 0 for chunk in chunks)
    return chunks


def by_hand(env: gym.Env, lookback: int) -> list[SingleAgentEpisode]:
    """Chunks as RLlib's example client makes them, and the empty one after the last cut."""
    episode = SingleAgentEpisode(
        observation_space=env.observation_space, action_space=env.action_space,
        agent_id="robot", module_id="policy", multi_agent_episode_id="many",
    )  # fmt: skip
    env.action_space.seed(0)
    episode.add_env_reset(*env.reset(seed=0))
    chunks = [episode]
    for step in range(6):
        if step in (2, 5):
            episode = episode.cut(lookback)
            chunks.append(episode)
        action = env.action_space.sample()
        observation, reward, terminated, truncated, info = env.step(action)
        logits = {"logits": np.arange(2, dtype=np.float32), "logp": -math.inf}
        episode.add_env_step(observation, action, reward, info, terminated=terminated,
                             truncated=truncated, extra_model_outputs=logits)  # fmt: skip
        episode.custom_data["steps"] = step
    empty = SingleAgentEpisode(id_="empty")
    empty.add_env_reset(*env.reset())
    return [*chunks, empty]


@pytest.fixture(scope="module", params=["CartPole-v1", ImageEnv], ids=["cartpole", "images"])
def env(request: pytest.FixtureRequest) -> Any:
    return request.param


def sent(episode: SingleAgentEpisode) -> Any:
    """An episode's state as it arrives."""
    return decode(encode(episode.get_state()))


def assert_same(a: Any, b: Any) -> None:
    """Equal in structure, shape, dtype and every value."""
    tree.assert_same_structure(a, b)
    for x, y in zip(tree.flatten(a), tree.flatten(b), strict=True):
        # A flag of numpy's, as environments return them, may become one of Python's.
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_array_equal(x, y)


def assert_equal_episodes(a: SingleAgentEpisode, b: SingleAgentEpisode) -> None:
    """Everything that an episode tells about itself, with lookback, slices, fill and one-hot."""
    for name in ("id_", "agent_id", "module_id", "multi_agent_episode_id", "t", "t_started",
                 "is_terminated", "is_truncated", "is_done", "is_reset", "is_numpy",
                 "observation_space", "action_space", "custom_data"):  # fmt: skip
        assert getattr(a, name) == getattr(b, name), name
    for method in ("__len__", "env_steps", "agent_steps", "get_return", "get_duration_s"):
        assert getattr(a, method)() == getattr(b, method)(), method
    slices = [None, slice(None), slice(-2, None), slice(0, 1), -1]
    for getter in ("get_observations", "get_infos"):
        for indices in slices:
            assert_same(getattr(a, getter)(indices), getattr(b, getter)(indices))
    keys = list(a.extra_model_outputs)
    assert keys == list(b.extra_model_outputs)
    if len(a):
        for indices in slices:
            assert_same(a.get_actions(indices), b.get_actions(indices))
            assert_same(a.get_rewards(indices), b.get_rewards(indices))
            for key in keys:
                assert_same(a.get_extra_model_outputs(key, indices),
                            b.get_extra_model_outputs(key, indices))  # fmt: skip
    back = {"indices": slice(-4, 2), "neg_index_as_lookback": True, "fill": 0.0}
    assert_same(a.get_rewards(**back), b.get_rewards(**back))
    if a.observation_space is not None:  # without one, RLlib cannot fill up structures
        assert_same(a.get_observations(**back), b.get_observations(**back))
    if isinstance(a.action_space, gym.spaces.Discrete):
        hot = back | {"one_hot_discrete": True}
        assert_same(a.get_actions(**hot), b.get_actions(**hot))
    if len(a):
        assert_same(a.get_data_dict(), b.get_data_dict())
    # All buffers with their lookbacks, and the serialized spaces.
    assert_same(without_type(a.get_state()), without_type(b.get_state()))


def without_type(state: dict[str, Any]) -> Any:
    """A state that may be compared: numpy's flags are Python's, None has a name."""
    state = {k: bool(v) if isinstance(v, np.bool_) else v for k, v in state.items()}
    return tree.map_structure(lambda leaf: "none" if leaf is None else leaf, state)


def spaces(episode: SingleAgentEpisode) -> dict[str, Any]:
    return {
        "observation_space": episode.observation_space, "action_space": episode.action_space,
    }  # fmt: skip


@pytest.mark.parametrize("to_numpy", [False, True], ids=["lists", "numpy"])
@pytest.mark.parametrize("lookback", [0, 3])
def test_what_rllib_samples_arrives_equal(env, to_numpy, lookback):
    for episode in rollout(env, to_numpy=to_numpy, lookback=lookback):
        assert_equal_episodes(episode_from_state(sent(episode), **spaces(episode)), episode)


@pytest.mark.parametrize("lookback", [0, 1, 5])
def test_chunks_cut_by_a_client_arrive_equal_and_fit_together(env, lookback):
    chunks = by_hand(CARTPOLE if env == "CartPole-v1" else ImageEnv(), lookback)
    arrived = [episode_from_state(sent(chunk), **spaces(chunk)) for chunk in chunks]
    for episode, chunk in zip(arrived, chunks, strict=True):
        assert_equal_episodes(episode, chunk)
    whole = arrived[0]
    for episode in arrived[1:3]:
        whole.concat_episode(episode)
    assert len(whole) == 6 and whole.id_ == chunks[0].id_


def test_an_arrived_episode_is_converted_and_cut_like_its_original(env):
    for chunk in by_hand(CARTPOLE if env == "CartPole-v1" else ImageEnv(), 2):
        arrived = episode_from_state(sent(chunk), **spaces(chunk))
        assert_equal_episodes(arrived.cut(1), chunk.cut(1))
        assert_equal_episodes(arrived.to_numpy(), chunk.to_numpy())
        again = episode_from_state(sent(arrived), **spaces(chunk))
        assert_equal_episodes(again, chunk)


def test_the_receivers_spaces_count_and_not_those_that_were_sent():
    state = sent(by_hand(CARTPOLE, 0)[0])
    for key in ("_observation_space", "_action_space"):
        state[key] = {"space": "box", "low": "no base64 at all"}
    state["observations"]["space"] = 5
    episode = episode_from_state(state)
    assert episode.observation_space is None and episode.action_space is None
    episode = episode_from_state(state, action_space=CARTPOLE.action_space)
    assert episode.action_space == CARTPOLE.action_space


def test_tuples_of_a_space_are_tuples_again():
    space = gym.spaces.Tuple((gym.spaces.Discrete(3), gym.spaces.Box(-1, 1, (2,), np.float32)))
    sample = (1, np.zeros(2, np.float32))
    for to_numpy in (False, True):
        episode = SingleAgentEpisode(observations=[sample] * 3, actions=[sample] * 2,
                                     rewards=[1.0, 2.0], observation_space=space,
                                     action_space=space, len_lookback_buffer=0)  # fmt: skip
        episode = episode.to_numpy() if to_numpy else episode
        assert_equal_episodes(episode_from_state(sent(episode), **spaces(episode)), episode)


@pytest.mark.parametrize("action", [[0], [0, 1, 0], [0, [1]], {"a": 0, "b": 1}, np.zeros(2, int)])
def test_a_tuple_of_a_space_has_all_its_parts_and_no_others(action):
    space = gym.spaces.Tuple((gym.spaces.Discrete(3), gym.spaces.Discrete(3)))
    state = sent(by_hand(CARTPOLE, 0)[0])
    state["actions"]["data"] = [[0, 1]] * 2
    episode_from_state(state, action_space=space)
    state["actions"]["data"] = [action] * 2
    with pytest.raises(MessageError, match="actions 0"):
        episode_from_state(state, action_space=space)


STATE = {False: sent(by_hand(ImageEnv(), 1)[1]), True: sent(by_hand(ImageEnv(), 1)[1].to_numpy())}
IMAGE_SPACES = {
    "observation_space": ImageEnv.observation_space, "action_space": ImageEnv.action_space,
}  # fmt: skip


def put(*path: Any) -> Callable[[Any], None]:
    """A change of one place of a state; the last of the path is what is put there."""

    def change(state: Any) -> None:
        for key in path[:-2]:
            state = state[key]
        state[path[-2]] = path[-1]

    return change


def take(*path: Any) -> Callable[[Any], None]:
    """The removal of one place of a state."""

    def change(state: Any) -> None:
        for key in path[:-1]:
            state = state[key]
        del state[path[-1]]

    return change


NAN = np.full(3, np.nan, np.float32)
REFUSED = [
    *[(take(key), f"has no '{key}'") for key in ("id_", "observations", "actions", "rewards",
      "infos", "extra_model_outputs", "is_terminated", "is_truncated", "t_started", "t",
      "agent_id", "_start_time", "_last_step_time")],
    *[(take("actions", key), f"has no '{key}'") for key in ("data", "lookback", "finalized")],
    (put("observations", None), "the episode.*map|observations.*None|is None"),
    (put("actions", []), "is ..,"),
    (put("id_", ""), "id_"),
    (put("id_", 5), "id_"),
    (put("id_", "a\nb"), "id_"),
    (put("id_", "x" * 201), "id_"),
    (put("agent_id", [1]), "agent_id"),
    (put("module_id", True), "module_id"),
    (put("t", 4), "expected 3 .* behind a lookback"),
    (put("t", 1), "expected 0"),
    (put("t", -1), "t is -1"),
    (put("t", 5.0), "t is 5.0"),
    (put("t_started", True), "t_started is True"),
    (put("t_started", 9), "behind a lookback"),
    (put("t_started", 2**60), "t_started"),
    (put("is_terminated", 1), "is_terminated is 1"),
    (put("is_truncated", None), "is_truncated is None"),
    (put("_start_time", math.nan), "a time of nan"),
    (put("_start_time", "now"), "a time of 'now'"),
    (put("_start_time", None), "start at None"),
    (put("_last_step_time", -1e9), "the last step was"),
    (put("custom_data", [1]), "custom_data"),
    (put("infos", "data", {}), "infos are"),
    (put("infos", "data", [{}] * 3), "3 infos"),
    (put("infos", "data", 0, None), "an info is None"),
    (put("infos", "data", 0, {b"a": 1}), "an info is"),
    (put("infos", "lookback", 0), "infos"),
    (put("observations", "lookback", 2), "observations"),
    (put("observations", "lookback", -1), "lookback is -1"),
    (put("actions", "lookback", 0), "actions"),
    (put("rewards", "lookback", 10), "rewards"),
    (put("rewards", "finalized", 1), "rewards.finalized is 1"),
    (put("rewards", "data", []), "rewards"),
    (put("rewards", "data", None), "rewards"),
    (put("rewards", "data", "12345"), "rewards"),
    (put("extra_model_outputs", [1]), "extra_model_outputs"),
    (put("extra_model_outputs", {b"a": {}}), "extra_model_outputs"),
    (put("extra_model_outputs", "logits", "data", []), "logits"),
    (put("extra_model_outputs", "logits", None), "None"),
]  # fmt: skip
REFUSED_AS_LISTS = [
    (put("rewards", "data", 1, math.nan), "not finite"),
    (put("rewards", "data", 1, math.inf), "not finite"),
    (put("rewards", "data", 1, np.float32(-np.inf)), "not finite"),
    (put("rewards", "data", 1, "1"), "rewards hold '1'"),
    (put("rewards", "data", 1, None), "rewards hold None"),
    (put("rewards", "data", 1, {}), "rewards hold"),
    (put("rewards", "data", 1, np.zeros(1)), "layout"),
    (put("rewards", "data", [np.zeros(1)] * 4), "rewards 0"),
    (put("rewards", "finalized", True), "expected one length"),
    (put("observations", "data", 1, "state", NAN), "not finite"),
    (put("observations", "data", 1, "state", np.zeros(4, np.float32)), "layout"),
    (put("observations", "data", 1, "state", np.zeros((3, 1), np.float32)), "layout"),
    (put("observations", "data", 1, "front", b"png"), "observations hold b'png'"),
    (take("observations", "data", 1, "front"), "layout"),
    (put("observations", "data", 2, np.zeros(3)), "layout"),
    (put("actions", "data", 1, [0.0, 0.0]), "layout"),
    (put("actions", "data", 1, np.zeros(2, np.int8)), "layout"),
    (put("rewards", "data", 1, np.array(1.0)), "layout"),
    (put("rewards", "data", 1, 1e39), "not finite in float32"),
    (put("actions", "data", [np.zeros(3, np.float32)] * 4), "actions 0 is"),
    (put("actions", "data", [0] * 4), "actions 0 is 0"),
    (put("actions", "data", [[0.0, 0.0]] * 4), "actions 0 is"),
    (put("actions", "data", [np.zeros(2, complex)] * 4), "actions 0 is"),
]
REFUSED_AS_NUMPY = [
    (put("rewards", "data", np.array([0, 1, np.nan, 0])), "not finite"),
    (put("rewards", "data", np.zeros((4, 1))), "rewards 0"),
    (put("rewards", "data", np.float32(1)), "expected one length"),
    (put("rewards", "data", {}), "rewards hold"),
    (put("rewards", "data", np.zeros(3)), "3 rewards"),
    (put("rewards", "finalized", False), "expected a list"),
    (put("observations", "data", {}), "observations hold"),
    (put("observations", "data", "state", np.zeros((4, 3), np.float32)), "expected one length"),
    (put("observations", "data", "state", np.zeros((5, 4), np.float32)), "observations 0"),
    (put("observations", "data", "front", np.zeros((5, 8, 6, 3), np.float32)), "front"),
    (put("observations", "data", "front", np.zeros(2**25, np.uint8)), "expected one length"),
    (put("observations", "data", "more", np.zeros((5, 1), np.float32)), "observations 0"),
    (take("observations", "data", "front"), "observations 0"),
    (put("actions", "data", np.zeros((4, 3), np.float32)), "actions 0"),
    (put("extra_model_outputs", "logits", "data", np.zeros((5, 2))), "5 logits"),
]


def refuse(state: Any, change: Callable[[Any], None], reason: str) -> None:
    state = copy.deepcopy(state)
    episode_from_state(state, **IMAGE_SPACES)
    change(state)
    with pytest.raises(MessageError, match=reason):
        episode_from_state(state, **IMAGE_SPACES)


@pytest.mark.parametrize(("change", "reason"), REFUSED)
@pytest.mark.parametrize("to_numpy", [False, True], ids=["lists", "numpy"])
def test_what_is_no_episode_is_refused(to_numpy, change, reason):
    refuse(STATE[to_numpy], change, reason)


@pytest.mark.parametrize(("change", "reason"), REFUSED_AS_LISTS)
def test_items_that_do_not_fit_are_refused(change, reason):
    refuse(STATE[False], change, reason)


@pytest.mark.parametrize(("change", "reason"), REFUSED_AS_NUMPY)
def test_arrays_that_do_not_fit_are_refused(change, reason):
    refuse(STATE[True], change, reason)


@pytest.mark.parametrize("state", [None, 5, [], "x", {}, {b"id_": 1}, np.zeros(3)])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(MessageError):
        episode_from_state(state)


@pytest.mark.parametrize(
    ("space", "fitting", "wrong"),
    [
        (gym.spaces.Discrete(2), [0, 1, np.int64(1), np.array(1)], [2, -1, 0.0, 1.5, np.ones(1)]),
        (gym.spaces.Discrete(2, start=5), [5, 6], [4, 7]),
        (gym.spaces.MultiDiscrete([2, 3]), [np.array([1, 2])], [np.array([2, 0]), np.array([1])]),
        (gym.spaces.MultiBinary(2), [np.array([0, 1], np.int8)], [np.array([0, 2], np.int8)]),
        (gym.spaces.Box(-1, 1, (1,)), [np.full(1, 1.5, np.float32)], [0.5, np.zeros((1, 1))]),
        (gym.spaces.Box(0, 255, (1,), np.uint8), [np.ones(1, np.uint8)], [np.ones(1), 1]),
        (gym.spaces.Text(3), [], ["abc", 1]),
    ],
    ids=lambda value: str(value) if isinstance(value, gym.Space) else "",
)
def test_an_action_must_be_one_of_the_space(space, fitting, wrong):
    state = sent(by_hand(CARTPOLE, 1)[1])
    for values, fits in ((fitting, True), (wrong, False)):
        for value in values:
            for actions, finalized in (([value] * 4, False), (np.array([value] * 4), True)):
                state["actions"] |= {"data": actions, "finalized": finalized}
                try:
                    episode_from_state(state, action_space=space)
                    assert fits, (value, finalized)
                except MessageError:
                    assert not fits, (value, finalized)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything inside a state."""
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [p for key, entry in inner for p in [(*path, key), *places(entry, (*path, key))]]


def test_3_000_fuzzed_states_are_refused_or_make_a_sound_episode():
    rng = random.Random(5)
    values = [None, True, 0, -1, 2**63, 2**64 - 1, 1.5, math.nan, "", "x", b"", [], [[]], {},
              [1, 2], {"a": 1}, np.zeros(0), np.zeros((5, 0)), np.zeros(4), np.zeros((4, 2)),
              np.ones((8, 6, 3)), np.float32(1), np.array(1)]  # fmt: skip
    everywhere = {to_numpy: places(state) for to_numpy, state in STATE.items()}
    sound = 0
    start = time.process_time()
    for number in range(3_000):
        state = copy.deepcopy(STATE[bool(number % 2)])
        path = rng.choice(everywhere[bool(number % 2)])
        (take(*path) if rng.random() < 0.1 else put(*path, rng.choice(values)))(state)
        checked = IMAGE_SPACES if rng.random() < 0.5 else {}
        try:
            episode = episode_from_state(state, **checked)
        except MessageError as error:
            assert len(str(error)) < 1000
            continue
        sound += 1
        episode.to_numpy().validate()
        assert math.isfinite(episode.get_return() + episode.get_duration_s())
        assert repr(episode) and episode.get_data_dict()
    assert 100 < sound < 2_900
    assert time.process_time() - start < 10
