"""The algorithm with robots that connect to it: every step once, and in time, past restarts too."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from e2hil_rllib.algorithm import E2HiL
from e2hil_rllib.data.episodes import read_episodes
from e2hil_rllib.external.learner.robot_feed import RobotFeed
from e2hil_rllib.external.learner.robot_runner import RobotEnvRunner
from tests.external.learner.test_robot_runner import free_ports
from tests.external.robot.test_delivery import until
from tests.helpers import ReachEnv
from tests.learner_and_robot import (
    FREE,
    HIGHEST,
    LOWEST,
    SECONDS,
    UTD,
    Robot,
    check_everything_is_there_once,
    learner_config,
    steps_of,
    updates_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.realtime]

Build = Callable[[], E2HiL]


@pytest.fixture(scope="module", autouse=True)
def ray_session() -> Iterator[None]:
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def port() -> int:
    return free_ports(1)


@pytest.fixture
def build(tmp_path: Path, port: int) -> Iterator[Build]:
    """Builds learners over the same folders and the same port, one after the other."""
    built: list[E2HiL] = []

    def next_one() -> E2HiL:
        built.append(learner_config(tmp_path, port).build_algo())
        return built[-1]

    yield next_one
    for algo in built:
        algo.stop()


@pytest.fixture
def robot(tmp_path: Path, port: int) -> Iterator[Robot]:
    robot = Robot(tmp_path / "spool", port)
    yield robot
    robot.close()


def train_until(algo: E2HiL, condition: Callable[[], bool]) -> float:
    """Trains until it is so; returns how long the longest iteration took [s]."""
    longest = 0.0
    for _ in range(100):
        if condition():
            return longest
        begun = time.monotonic()
        algo.training_step()
        longest = max(longest, time.monotonic() - begun)
        most = HIGHEST * max(0, steps_of(algo) - FREE) + UTD
        assert updates_of(algo) < most, "more updates than the highest ratio allows"
    raise AssertionError("it does not happen")


def take_in(algo: E2HiL, steps: int) -> float:
    """Trains until the learner has so many steps, and all that they owe is learned."""
    longest = train_until(algo, lambda: steps_of(algo) >= steps)
    assert steps_of(algo) == steps
    return max(longest, train_until(algo, lambda: not algo.state.limiter.owes_update()))


def looked(algo: E2HiL) -> RobotFeed:
    """What the learner knows of its robots now."""
    assert algo.robots is not None
    algo.robots.look()
    return algo.robots


def test_every_step_is_logged_and_learned_once_while_updates_keep_between_the_ratios(
    build: Build, robot: Robot, tmp_path: Path
) -> None:
    algo = build()
    for number, steps in enumerate((12, 1, 23, 40, 7)):
        robot.episode(steps, terminated=number % 2 == 0)
        robot.send()
        assert take_in(algo, robot.steps) < SECONDS + 1.0
        assert updates_of(algo) >= LOWEST * (robot.steps - FREE)
    train_until(algo, lambda: not algo.state.limiter.allows_update())
    assert updates_of(algo) >= HIGHEST * (83 - FREE)
    episodes = check_everything_is_there_once(algo, robot, tmp_path)
    assert [episode.terminated for episode in episodes] == [True, False, True, False, True]
    result = algo.train()
    assert result["num_env_steps_sampled_lifetime"] == 83
    assert result["num_episodes_lifetime"] == 5
    assert result["env_runners"]["episode_len_mean"] == pytest.approx(83 / 5)
    until(lambda: robot.delivery.news.status.get("env_steps") == 83)
    status = robot.delivery.news.status
    assert status["episodes"] == 5
    led = [episode.is_intervention for episode in episodes]
    takeovers = sum(int(np.diff(human, prepend=False)[human].sum()) for human in led)
    assert status["takeovers"] == result["num_takeovers_lifetime"] == takeovers > 0


def test_many_steps_at_once_are_taken_in_only_as_fast_as_they_are_learned(
    build: Build, robot: Robot
) -> None:
    """After a long time without a network, say."""
    for _ in range(15):
        robot.episode(60)
    algo, seen = build(), [0]
    robot.send()

    def done() -> bool:
        if steps_of(algo) > seen[-1]:
            owed = LOWEST * (seen[-1] - FREE)
            assert updates_of(algo) >= owed, "more was taken in while updates were owed"
            seen.append(steps_of(algo))
        return steps_of(algo) == robot.steps

    assert train_until(algo, done) < SECONDS + 1.0
    assert len(seen) > 2


def test_a_paused_robot_lets_the_learner_idle_and_has_the_newest_policy(
    build: Build, robot: Robot
) -> None:
    algo = build()
    robot.episode(40)
    until(lambda: robot.delivery.status.connected)
    robot.says(paused=True)
    take_in(algo, 40)
    updates = updates_of(algo)
    assert looked(algo).paused and updates < HIGHEST * (40 - FREE)
    for _ in range(2):
        algo.training_step()
    assert LOWEST * (40 - FREE) <= updates_of(algo) == updates
    until(lambda: robot.has_policy_of(algo))
    robot.says(paused=False)
    train_until(algo, lambda: not algo.state.limiter.allows_update())
    assert updates_of(algo) >= HIGHEST * (40 - FREE)
    algo.training_step()
    until(lambda: robot.has_policy_of(algo))


@pytest.mark.parametrize("killed", [True, False], ids=["new process", "same process"])
def test_after_a_restart_nothing_is_missing_and_nothing_is_there_twice(
    build: Build, robot: Robot, tmp_path: Path, killed: bool
) -> None:
    algo = build()
    robot.episode(11)
    robot.begin()
    robot.act(14)  # five more would be a chunk
    robot.send()
    take_in(algo, 11 + 10)
    algo.save_to_path(tmp_path / "checkpoint")
    # Since then: the open episode ends, another one is logged, and a third one has begun.
    robot.act(9)
    robot.recorder.cut()
    robot.episode(8, terminated=True)
    robot.begin()
    robot.act(12)
    robot.send()
    take_in(algo, 11 + 23 + 8 + 10)
    if killed:
        algo.stop()
        algo = build()
        until(lambda: robot.delivery.status.connected)
    algo.restore_from_path(tmp_path / "checkpoint")
    assert steps_of(algo) == 11 + 23 + 8, "what is in the log since the checkpoint is there"
    take_in(algo, 11 + 23 + 8 + 10)
    robot.act(3)
    robot.recorder.end(terminated=True, succeed=True)
    robot.send()
    take_in(algo, robot.steps)
    episodes = check_everything_is_there_once(algo, robot, tmp_path)
    assert [episode.num_steps for episode in episodes] == [11, 23, 8, 15]


def test_no_robot_gets_the_random_policy_of_a_learner_that_is_being_restored(
    build: Build, robot: Robot, tmp_path: Path
) -> None:
    algo = build()
    robot.episode(20)
    robot.send()
    take_in(algo, 20)
    algo.save_to_path(tmp_path / "checkpoint")
    algo.stop()
    robot.delivery.news.take()
    algo = build()
    until(lambda: robot.delivery.status.connected)
    robot.says(paused=True)
    assert robot.delivery.news.take() is None
    algo.restore_from_path(tmp_path / "checkpoint")
    robot.says(paused=False)
    robot.says(paused=True)
    assert robot.delivery.news.take() is None
    algo.training_step()
    until(lambda: robot.has_policy_of(algo))


def test_an_episode_that_was_logged_and_not_finished_when_the_kill_came_is_taken_once(
    build: Build, robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    algo = build()
    robot.episode(7)
    robot.send()
    take_in(algo, 7)
    algo.save_to_path(tmp_path / "checkpoint")
    with monkeypatch.context() as patch:
        patch.setattr(RobotEnvRunner, "finish", lambda self, arrival: None)
        robot.episode(6)
        robot.begin()
        robot.act(6)
        robot.send()
        take_in(algo, 7 + 6 + 5)
        algo.stop()
    algo = build()
    algo.restore_from_path(tmp_path / "checkpoint")
    assert steps_of(algo) == 13
    robot.recorder.cut()
    until(lambda: robot.delivery.status.connected)
    robot.send()
    take_in(algo, robot.steps)
    for _ in range(2):
        algo.training_step()
    check_everything_is_there_once(algo, robot, tmp_path)


def test_an_episode_of_a_robot_that_was_killed_in_it_is_cut_off_where_it_was_known_to_be(
    build: Build, robot: Robot, tmp_path: Path
) -> None:
    algo = build()
    robot.begin()
    robot.act(14)
    robot.send()
    robot.die()
    robot.start()
    robot.episode(6, terminated=True)
    robot.send()
    # Of the first one, the robot had passed on two chunks.
    robot.seen[0], robot.human[0] = robot.seen[0][:11], robot.human[0][:10]
    take_in(algo, 10 + 6)
    cut, ended = check_everything_is_there_once(algo, robot, tmp_path)
    assert (cut.terminated, cut.truncated) == (False, True)
    assert (ended.terminated, ended.succeed) == (True, True)


class Other(ReachEnv):
    """Observes what no space of the learner has, or not as it has it."""

    def _observation(self) -> dict[str, np.ndarray]:
        observation = super()._observation()
        if self.fault == "an entry more":
            return observation | {"extra": np.zeros(2, np.float32)}
        return observation | {"state": np.zeros(5, np.float32)}


@pytest.mark.parametrize("fault", ["an entry more", "a wider state"])
def test_steps_of_another_environment_are_left_out_and_training_goes_on(
    build: Build,
    robot: Robot,
    tmp_path: Path,
    port: int,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    algo = build()
    other = Robot(tmp_path / "other", port, Other(fault=fault))
    other.episode(8)
    other.send()
    robot.episode(9)
    robot.send()
    take_in(algo, 9)
    algo.training_step()
    errors = [it.getMessage() for it in caplog.records if it.levelno == logging.ERROR]
    assert len(errors) == 2 and all("is left out: observation" in error for error in errors)
    assert steps_of(algo) == 9 and len(read_episodes(tmp_path / "episodes")) == 1
    other.close()


def test_at_the_end_robots_hear_it_and_what_they_still_send_is_taken(
    build: Build, robot: Robot, tmp_path: Path
) -> None:
    algo = build()
    assert algo.robots is not None and algo.robot_training is not None
    robot.episode(9)
    until(lambda: robot.delivery.status.connected)
    algo.robots.tell({"done": True})
    until(lambda: robot.delivery.news.status.get("done") is True)
    assert not algo.robot_training.drain(), "it acts still"
    robot.episode(3)
    robot.says(paused=True, stopped=True)
    until(algo.robot_training.drain)
    assert steps_of(algo) == 12 and looked(algo).stopped
    check_everything_is_there_once(algo, robot, tmp_path)
