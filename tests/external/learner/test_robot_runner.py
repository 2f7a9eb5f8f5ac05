"""The EnvRunner that robots connect to: it hands on what they send and gives them the policy."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.errors import UserError
from e2hil_rllib.external.learner.inbox import Inbox
from e2hil_rllib.external.learner.listener import ListenError
from e2hil_rllib.external.learner.robot_runner import RobotEnvRunner
from e2hil_rllib.external.protocol.chunk import Chunk
from e2hil_rllib.external.protocol.secure import client_context
from e2hil_rllib.external.protocol.weights import Weights
from e2hil_rllib.external.robot.delivery import Delivery, Destination
from e2hil_rllib.external.robot.policy import LocalPolicy
from e2hil_rllib.external.robot.spool import Spool
from tests.external.certificates import make_pair
from tests.external.robot.test_delivery import LOOPBACK, until

pytestmark = pytest.mark.realtime

Box = gym.spaces.Box
OBSERVED = gym.spaces.Dict(
    state=Box(-2, 2, (3,), np.float32), front=Box(0, 255, (16, 16, 3), np.uint8)
)
ACTIONS = Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def configured(folder: Path, **settings: Any) -> E2HiLConfig:
    config = E2HiLConfig().environment(observation_space=OBSERVED, action_space=ACTIONS)
    config.human_in_the_loop(episode_log=folder / "log")
    config.training(hidden_sizes=(16, 16), encoder_size=8)
    return config.external(inbox=folder / "inbox", **{"port": 0, **settings})


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RobotEnvRunner]:
    runner = RobotEnvRunner(config=configured(tmp_path))
    yield runner
    runner.stop()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool", 1 << 28) as spool:
        yield spool


def sent(spool: Spool, first_step: int = 0, **changes: Any) -> int:
    """Puts a chunk of four steps of episode 0 into the spool; returns its number."""

    def make(sequence: int) -> bytes:
        chunk = Chunk(
            stream=spool.stream,
            sequence=sequence,
            episode=0,
            first_step=first_step,
            observations={
                "state": np.zeros((5, 3), np.float32),
                "front": np.zeros((5, 16, 16, 3), np.uint8),
            },
            actions=np.ones((4, 2), np.float32),
            rewards=np.zeros(4, np.float32),
            is_intervention=np.zeros(4, bool),
            terminated=False,
            truncated=False,
            succeed=False,
            fps=10.0,
            task="reach",
        )
        return dataclasses.replace(chunk, **changes).to_bytes()

    return spool.append(make)


def delivered(spool: Spool, runner: RobotEnvRunner, **destination: Any) -> Delivery:
    assert runner.port is not None
    delivery = Delivery(spool, Destination(LOOPBACK, runner.port, **destination), patience=5.0)
    assert delivery.flush(20.0)
    return delivery


def taken_by(delivery: Delivery) -> Weights:
    """The next policy that a robot gets."""
    taken: list[Weights] = []
    until(lambda: (it := delivery.news.take()) is not None and taken.append(it) is None)
    return taken[0]


def weights(value: float) -> dict[str, Any]:
    """A state as RLlib gives it to its runners."""
    return {COMPONENT_RL_MODULE: {DEFAULT_MODULE_ID: {"w": np.full(2, value, np.float32)}}}


def test_what_robots_send_comes_once_and_stays_until_it_is_finished(
    runner: RobotEnvRunner, spool: Spool, tmp_path: Path
) -> None:
    assert runner.sample() == []
    for first_step in (0, 4, 8):
        sent(spool, first_step, truncated=first_step == 8)
    delivered(spool, runner).close()
    arrivals = runner.sample()
    assert [it.chunk.first_step for it in arrivals if it.chunk] == [0, 4, 8]
    assert {it.origin for it in arrivals} == {f"{spool.stream}/0/0"}
    assert arrivals[-1].ends_episode and runner.sample() == []
    folder = tmp_path / "inbox" / "runner_0" / spool.stream
    assert len(list(folder.glob("chunk_*"))) == 3
    runner.finish(arrivals[-1])
    assert list(folder.glob("chunk_*")) == []


def test_set_back_it_begins_anew_with_what_is_not_finished(
    runner: RobotEnvRunner, spool: Spool
) -> None:
    sent(spool, truncated=True)
    sent(spool, episode=1)
    delivered(spool, runner).close()
    first, second = runner.sample()
    runner.finish(first)
    runner.restart(0, 100)
    (again,) = runner.sample()
    assert (again.origin, again.sequence) == (second.origin, second.sequence)


def wide(chunk: str, width: int) -> dict[str, Any]:
    arrays = {"state": np.zeros((5, 3), np.float32), "front": np.zeros((5, 16, 16, 3), np.uint8)}
    arrays[chunk] = np.zeros((5, width), np.float32)
    return arrays


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"observations": wide("state", 4)}, "observation 'state' is .*(4,)"),
        ({"observations": wide("front", 4)}, "observation 'front' is"),
        ({"observations": {"state": np.zeros((5, 3), np.float32)}}, "observation 'front' is None"),
        (
            {"observations": wide("state", 3) | {"state": np.zeros((5, 3), np.float64)}},
            "observation 'state' is .*float64",
        ),
        ({"observations": wide("objects", 3)}, "observation 'objects' is in none of the spaces"),
        ({"actions": np.ones((4, 3), np.float32)}, "actions have shape"),
        ({"actions": np.full((4, 2), 2.1, np.float32)}, "an action lies outside of"),
        ({"actions": np.full((4, 2), -0.1, np.float32)}, "an action lies outside of"),
    ],
)
def test_steps_of_another_environment_are_left_out_with_the_reason(
    runner: RobotEnvRunner,
    spool: Spool,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
    fault: str,
) -> None:
    sent(spool)
    sent(spool, 4, **change)
    sent(spool, 8)
    delivered(spool, runner).close()
    arrivals = runner.sample()
    assert [it.chunk and it.chunk.sequence for it in arrivals] == [0, None, 2]
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "Chunk 1 of the recording" in error.getMessage()
    assert re.search(fault, error.getMessage())


def test_rounded_actions_at_the_edge_of_the_box_are_taken(
    runner: RobotEnvRunner, spool: Spool
) -> None:
    sent(spool, actions=np.full((4, 2), [2.00005, -0.00005]).astype(np.float32))
    delivered(spool, runner).close()
    assert len(runner.sample()) == 1


def test_robots_get_a_policy_when_it_is_published_and_not_when_it_is_set(
    runner: RobotEnvRunner, spool: Spool
) -> None:
    """RLlib sets policies while it builds and restores an algorithm, random ones among them."""
    delivery = delivered(spool, runner)
    runner.publish()
    runner.set_state(weights(1.0))
    runner.set_state({"num_env_steps_sampled_lifetime": 3})
    runner.tell({"updates": 12})
    until(lambda: delivery.news.status == {"updates": 12})
    assert delivery.news.take() is None
    runner.set_state(weights(2.0))
    runner.publish()
    assert taken_by(delivery).tensors["w"].tolist() == [2.0, 2.0]
    delivery.close()


def test_a_policy_that_was_published_does_not_change_any_more(
    runner: RobotEnvRunner, spool: Spool
) -> None:
    state = weights(1.0)
    runner.set_state(state)
    runner.publish()
    state[COMPONENT_RL_MODULE][DEFAULT_MODULE_ID]["w"][:] = 9.0
    delivery = delivered(spool, runner)
    weights_there = taken_by(delivery)
    assert weights_there.tensors["w"].tolist() == [1.0, 1.0] and weights_there.version == 1
    delivery.close()


def test_its_welcome_fits_a_robot_of_the_same_settings_and_no_other(
    runner: RobotEnvRunner, spool: Spool, tmp_path: Path
) -> None:
    config = configured(tmp_path)
    blind = gym.spaces.Dict(state=OBSERVED["state"])
    policies = {
        "same": LocalPolicy(config, OBSERVED, ACTIONS, 0),
        "other": LocalPolicy(config, blind, ACTIONS, 0),
    }
    assert runner.port is not None
    for name, policy in policies.items():
        delivery = Delivery(spool, Destination(LOOPBACK, runner.port), policy.check)
        until(lambda: delivery.status.connected or delivery.status.refused)  # noqa: B023
        assert delivery.status.refused is (name == "other"), delivery.status.trouble
        delivery.close()
    assert "observations: 'front' is at the learner only" in delivery.status.trouble


def test_it_knows_its_robots(runner: RobotEnvRunner, spool: Spool) -> None:
    assert runner.robots() == []
    delivery = delivered(spool, runner)
    until(lambda: delivery.status.connected)
    delivery.report(paused=True)
    assert delivery.flush(10.0)
    (robot,) = runner.robots()
    assert (robot.stream, robot.connected, robot.paused) == (spool.stream, True, True)
    metrics = {name: stats.peek() for name, stats in runner.get_metrics().items()}
    assert metrics == {"robots": 1, "robots_waiting_chunks": 0}
    delivery.close()
    until(lambda: not runner.robots()[0].connected)
    assert runner.get_metrics()["robots"].peek() == 0


def test_nobody_without_the_token_may_send(tmp_path: Path, spool: Spool) -> None:
    token = tmp_path / "token.txt"
    token.write_text("a-token-of-enough-characters")
    token.chmod(0o600)
    runner = RobotEnvRunner(config=configured(tmp_path, token_file=str(token)))
    sent(spool)
    assert runner.port is not None
    delivery = Delivery(spool, Destination(LOOPBACK, runner.port, "another-token-as-long-as-it"))
    until(lambda: delivery.status.refused)
    delivery.close()
    assert runner.sample() == [] and runner.robots() == []
    delivered(spool, runner, token="a-token-of-enough-characters").close()
    assert len(runner.sample()) == 1
    runner.stop()


def test_with_a_certificate_robots_speak_tls(tmp_path: Path, spool: Spool) -> None:
    pair = make_pair(tmp_path, LOOPBACK)
    files = {"certificate": str(pair.certificate), "private_key": str(pair.key)}
    runner = RobotEnvRunner(config=configured(tmp_path, **files))
    sent(spool)
    delivered(spool, runner, tls=client_context(pair.authority)).close()
    assert len(runner.sample()) == 1
    runner.stop()


def free_ports(count: int) -> int:
    """The first of so many ports in a row that are free."""
    while True:
        with socket.create_server((LOOPBACK, 0)) as first:
            port = first.getsockname()[1]
        try:
            for place in range(count):
                socket.create_server((LOOPBACK, port + place)).close()
        except OSError:
            continue
        return int(port)


def test_each_remote_runner_has_a_port_and_an_inbox_of_its_own(tmp_path: Path) -> None:
    port = free_ports(2)
    config = configured(tmp_path, port=port).env_runners(num_env_runners=2)
    runners = [RobotEnvRunner(config=config, worker_index=place) for place in (0, 1, 2)]
    assert [runner.port for runner in runners] == [None, port, port + 1]
    assert runners[0].sample() == []
    for runner in runners:
        runner.assert_healthy()
        runner.stop()
    folders = sorted(path.name for path in (tmp_path / "inbox").iterdir())
    assert folders == ["runner_0", "runner_1"]


def test_a_port_that_is_taken_is_named_and_leaves_the_inbox_to_others(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"cannot listen at {LOOPBACK}:{port}"):
            RobotEnvRunner(config=configured(tmp_path, port=port))
    Inbox(tmp_path / "inbox" / "runner_0").close()


def test_an_inbox_that_another_learner_uses_is_refused(
    runner: RobotEnvRunner, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="in use by another process"):
        RobotEnvRunner(config=configured(tmp_path))


def test_after_its_end_nobody_listens(tmp_path: Path) -> None:
    runner = RobotEnvRunner(config=configured(tmp_path))
    runner.assert_healthy()
    runner.stop()
    runner.stop()
    ask: list[Callable[[], Any]] = [runner.assert_healthy, runner.sample]
    for each in ask:
        with pytest.raises(RuntimeError, match="nobody listens for clients any more"):
            each()


def test_its_spaces_are_those_of_the_robots_environments(runner: RobotEnvRunner) -> None:
    assert runner.get_spaces()[INPUT_ENV_SINGLE_SPACES] == (OBSERVED, ACTIONS)
    assert runner.get_state() == {}
