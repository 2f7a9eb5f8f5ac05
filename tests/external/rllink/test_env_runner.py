"""RLlib's own external client, unchanged, trains through the server."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
import ray
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.examples.envs.classes.utils.dummy_external_client import _dummy_external_client

from e2hil_rllib.external.protocol.codec import decode, encode
from e2hil_rllib.external.protocol.framing import FrameReader, frame
from e2hil_rllib.external.rllink.env_runner import ExternalEnvRunner
from e2hil_rllib.external.rllink.exchange import Exchange
from e2hil_rllib.external.rllink.session import RLlinkSession

STEPS = 400


@pytest.fixture(scope="module", autouse=True)
def ray_session():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    yield
    ray.shutdown()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def ppo_config(port: int) -> PPOConfig:
    env = gym.make("CartPole-v1")
    config = PPOConfig().environment(
        observation_space=env.observation_space,
        action_space=env.action_space,
        env_config={"port": port},
    )
    config.env_runners(env_runner_cls=ExternalEnvRunner, num_env_runners=0)
    return config.training(train_batch_size=STEPS, minibatch_size=100, num_epochs=3)


@pytest.fixture
def algorithm() -> Iterator[PPO]:
    algorithm = ppo_config(free_port()).build_algo()
    yield algorithm
    algorithm.stop()


def talk(runner: ExternalEnvRunner, message: dict) -> dict:
    """Says one thing to the server and returns the answer."""
    with socket.create_connection(("127.0.0.1", runner.port), timeout=10.0) as connection:
        connection.sendall(frame(encode(message)))
        reader = FrameReader()
        while True:
            for body in reader.feed(connection.recv(1 << 16)):
                return decode(body)


@pytest.mark.slow
def test_rllibs_client_trains_ppo(algorithm: PPO) -> None:
    runner = algorithm.env_runner
    context = multiprocessing.get_context("spawn")
    client = context.Process(target=_dummy_external_client, args=(runner.port,), daemon=True)
    client.start()
    try:
        before = talk(runner, {"type": "GET_STATE"})["state"]
        results = [algorithm.train() for _ in range(3)]
        after = talk(runner, {"type": "GET_STATE"})["state"]
    finally:
        client.kill()
        client.join()
    counts = [r["env_runners"]["num_env_steps_sampled_lifetime"] for r in results]
    assert counts == [STEPS, 2 * STEPS, 3 * STEPS]
    assert results[-1]["env_runners"]["episode_return_mean"] > 5
    assert results[-1]["learners"]["default_policy"]["num_module_steps_trained_lifetime"] > 0
    assert after["weights_seq_no"] > before["weights_seq_no"]
    changed = [
        not np.array_equal(after["rl_module"][name], before["rl_module"][name])
        for name in before["rl_module"]
    ]
    assert any(changed), "the client gets what was learned"
    runner.assert_healthy()


def test_sampling_returns_at_once_where_nothing_comes(algorithm: PPO) -> None:
    assert algorithm.env_runner.sample() == []
    assert talk(algorithm.env_runner, {"type": "PING"}) == {"type": "PONG"}


def test_older_weights_do_not_replace_newer_ones(algorithm: PPO) -> None:
    runner = algorithm.env_runner
    state = runner.get_state()
    newer = {name: value + 1 for name, value in state["rl_module"].items()}
    runner.set_state({"rl_module": {"default_policy": newer}, "weights_seq_no": 7})
    runner.set_state({"rl_module": {"default_policy": state["rl_module"]}, "weights_seq_no": 6})
    seen = talk(runner, {"type": "GET_STATE"})["state"]
    assert seen["weights_seq_no"] == 7
    assert all(np.array_equal(seen["rl_module"][name], newer[name]) for name in newer)


def test_a_stopped_runner_is_not_healthy() -> None:
    algorithm = ppo_config(free_port()).build_algo()
    runner = algorithm.env_runner
    algorithm.stop()
    with pytest.raises(RuntimeError, match="nobody listens"):
        runner.assert_healthy()


def session_from(address: str) -> RLlinkSession:
    config = ppo_config(5555)
    return RLlinkSession(
        Exchange(), config, config.observation_space, config.action_space, (address, 4711)
    )


def test_the_pickled_configuration_stays_on_this_machine() -> None:
    (answer,) = session_from("127.0.0.1").answer({"type": "GET_CONFIG"})
    assert decode(answer)["type"] == "SET_CONFIG"
    with pytest.raises(ValueError, match="on this machine only"):
        list(session_from("192.0.2.7").answer({"type": "GET_CONFIG"}))


def test_episodes_that_have_no_steps_yet_are_left_out() -> None:
    empty = SingleAgentEpisode(observations=[np.zeros(4, np.float32)])
    state = decode(encode(empty.get_state()))
    exchange = Exchange()
    config = ppo_config(5555)
    session = RLlinkSession(
        exchange, config, config.observation_space, config.action_space, ("127.0.0.1", 1)
    )
    assert list(session.answer({"type": "EPISODES", "episodes": [state]})) == []
    assert exchange.take(0.0) == []


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ({"type": "REBOOT"}, "'REBOOT' is no message"),
        ({}, "None is no message"),
        ({"type": "EPISODES"}, "no list of them"),
        ({"type": "EPISODES", "episodes": [{}]}, "episode"),
    ],
)
def test_what_is_no_message_is_refused(message: dict, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        list(session_from("127.0.0.1").answer(message))
