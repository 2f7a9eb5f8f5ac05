"""A learner and a robot in one process, with all that was recorded to compare it with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from e2hil_rllib.algorithm import E2HiL
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.data.episodes import read_episodes
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.external.protocol.weights import Weights
from e2hil_rllib.external.robot.delivery import Delivery, Destination
from e2hil_rllib.external.robot.recorder import Recorder, Step
from e2hil_rllib.external.robot.spool import Spool
from tests.external.robot.test_delivery import LOOPBACK
from tests.helpers import ReachEnv, policy_weights

SECONDS = 0.15
"""How long a training iteration lasts [s]."""
LOWEST, HIGHEST, UTD = 0.25, 0.5, 2
FREE = 4
"""Steps for which nothing is learned yet."""
CHUNK = 5
"""Steps in a chunk."""


def learner_config(folder: Path, port: int) -> E2HiLConfig:
    """A small learner of `ReachEnv`, with episodes and inbox below a folder."""
    env = ReachEnv()
    return (
        E2HiLConfig()
        .environment(observation_space=env.observation_space, action_space=env.action_space)
        .human_in_the_loop(episode_log=folder / "episodes")
        .external(
            inbox=folder / "inbox",
            port=port,
            lowest_update_ratio=LOWEST,
            highest_update_ratio=HIGHEST,
            policy_interval=0.05,
            seconds_per_iteration=SECONDS,
        )
        .training(
            hidden_sizes=(16, 16),
            encoder_size=8,
            train_batch_size_per_learner=16,
            utd_ratio=UTD,
            learning_starts=FREE + 1,
        )
        .debugging(seed=0, log_level="ERROR")
    )


class Robot:
    """A robot's recorder, spool and delivery, which knows all that it has recorded.

    Args:
        folder: Of its spool.
        port: Of its learner.
        env: Whose steps are recorded; how it ends an episode does not count.
    """

    def __init__(self, folder: Path, port: int, env: gym.Env | None = None) -> None:
        self._folder, self._port = folder, port
        self._env = ReachEnv() if env is None else env
        #: Of each episode its observations, from the first on, and whether a human acted.
        self.seen: list[list[Any]] = []
        self.human: list[list[bool]] = []
        self._newest: Weights | None = None
        self.start()

    def start(self) -> None:
        """As if the process began."""
        self.spool = Spool(self._folder, 1 << 28)
        self.recorder = Recorder(self.spool, fps=10.0, task="reach", chunk_steps=CHUNK)
        self.delivery = Delivery(self.spool, Destination(LOOPBACK, self._port))

    def die(self) -> None:
        """As if it was killed: what its recorder has not passed on is lost."""
        self.delivery.close()
        self.spool.close()

    def close(self) -> None:
        """Ends as it should."""
        self.recorder.close()
        self.die()

    def begin(self) -> None:
        """Begins an episode."""
        observation, _ = self._env.reset(seed=len(self.seen))
        self.seen.append([observation])
        self.human.append([])
        self.recorder.begin(observation)

    def act(self, steps: int) -> None:
        """Steps at random; a human leads some of them."""
        for _ in range(steps):
            action = self._env.action_space.sample()
            observation, reward, *_, info = self._env.step(action)
            human = bool(info["is_intervention"])
            done = info["teleop_action"] if human else action
            self.recorder.add(Step(done, float(reward), human, observation))
            self.seen[-1].append(observation)
            self.human[-1].append(human)

    def episode(self, steps: int, *, terminated: bool = False) -> None:
        """A whole one."""
        self.begin()
        self.act(steps)
        self.recorder.end(terminated=terminated, succeed=terminated)

    @property
    def steps(self) -> int:
        """How many it has recorded."""
        return sum(len(each) for each in self.human)

    def send(self) -> None:
        """Waits until the learner's inbox has all that was passed on."""
        assert self.delivery.flush(20.0)

    def says(self, **report: bool) -> None:
        """Tells the learner how it is, and waits until it has answered."""
        assert self.delivery.status.connected
        self.delivery.report(**report)
        self.send()

    @property
    def policy(self) -> Weights | None:
        """The newest policy that has come."""
        self._newest = self.delivery.news.take() or self._newest
        return self._newest

    def has_policy_of(self, algo: E2HiL) -> bool:
        """Whether that is the learner's present one."""
        if self.policy is None:
            return False
        tensors, parameters = self.policy.tensors, policy_weights(algo)
        assert {name.split(".")[0] for name in tensors} == {"target_encoder", "target_actor"}
        return all(np.array_equal(parameters[name], tensor) for name, tensor in tensors.items())


def steps_of(algo: E2HiL) -> int:
    """Steps that the learner has taken in."""
    return int(algo.state.limiter.env_steps)


def updates_of(algo: E2HiL) -> int:
    """Minibatches that it has learned from."""
    return int(algo.state.limiter.updates)


def check_everything_is_there_once(algo: E2HiL, robot: Robot, folder: Path) -> list[EpisodeSteps]:
    """Log and replay hold what the robot has recorded, whose episodes have all ended.

    Returns:
        The episodes of the log.
    """
    episodes = read_episodes(folder / "episodes")
    assert [episode.episode for episode in episodes] == list(range(len(robot.seen)))
    origins = [episode.origin for episode in episodes]
    assert len(set(origins)) == len(origins)
    for episode, seen, human in zip(episodes, robot.seen, robot.human, strict=True):
        for key in seen[0]:
            expected = np.stack([observation[key] for observation in seen])
            np.testing.assert_array_equal(episode.observations[key], expected)
        assert episode.is_intervention.tolist() == human
    every = [(n, t) for n, human in enumerate(robot.human) for t in range(len(human))]
    assert sorted(map(tuple, algo.replay.online.ids().tolist())) == every
    led = [(n, t) for n, human in enumerate(robot.human) for t, it in enumerate(human) if it]
    assert sorted(map(tuple, algo.replay.demonstrations.ids().tolist())) == led
    assert steps_of(algo) == len(every) and algo.state.human_steps == len(led)
    assert not list((folder / "inbox").rglob("chunk_*")), "what is logged is deleted"
    return episodes
