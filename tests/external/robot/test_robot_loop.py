"""The robot acts while there is a learner, stands still while there is none, and loses no step.

Learner and robot are in this process, with a real connection between them; what happens meanwhile
is done by the environment, at a step or while it stands still.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from e2hil_rllib.external.learner.bulletin import Bulletin
from e2hil_rllib.external.protocol.chunk import Chunk
from e2hil_rllib.external.protocol.weights import Weights
from e2hil_rllib.external.robot import recorder as recorder_module
from e2hil_rllib.external.robot.delivery import Delivery, RefusedError
from e2hil_rllib.external.robot.recorder import Recorder
from e2hil_rllib.external.robot.robot_loop import RobotError, RobotLoop
from e2hil_rllib.external.robot.spool import Spool
from envs.operators.episode_keys import OperatorStopError
from tests.external.robot.test_delivery import Learner, delivery_to, until
from tests.patience import stretched

pytestmark = pytest.mark.realtime

Happens = Callable[[], None]


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(recorder_module, "_RETRY", 0.02)


class Arm(gym.Env):
    """Counts its steps over all episodes; that is what it observes. An episode has ten.

    Attributes:
        at: What happens in a step, by its number from 1, or in a reset, by "reset 1" and so on.
        infos: What the info of a step holds besides, by its number.
        does: What was done with it, in words.
    """

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 1e6, (1,), np.float32)
        self.action_space = gym.spaces.Box(-100, 100, (1,), np.float32)
        self.at: dict[int | str, Happens] = {}
        self.infos: dict[int, dict[str, Any]] = {}
        self.does: list[str] = []
        self.seeds: list[int | None] = []
        self.steps = self.episodes = self.begun = 0

    def _seen(self) -> np.ndarray:
        return np.array([self.steps], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.episodes += 1
        self.does.append("reset")
        self.seeds.append(seed)
        self.at.get(f"reset {self.episodes}", lambda: None)()
        self.begun = self.steps
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.does.append(f"step {self.steps}")
        self.at.get(self.steps, lambda: None)()
        info = {"is_intervention": False, **self.infos.get(self.steps, {})}
        truncated = self.steps - self.begun == 10 or bool(info.get("interrupted"))
        return self._seen(), self.steps / 2, False, truncated, info


class WaitingArm(Arm):
    """Has a way of its own to stand still; `whiles` happen in it, one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.whiles: list[Happens] = []

    def stand_still(self) -> None:
        self.does.append("stands still")
        (self.whiles.pop(0) if self.whiles else lambda: None)()
        time.sleep(0.01)


class Policy:
    """Acts with the value of the weights that it has, plus a hundredth for each step."""

    def __init__(self) -> None:
        self.version = self.updates = 0
        self.value = -99.0

    def load(self, weights: Weights) -> None:
        self.version, self.updates = weights.version, weights.updates
        self.value = float(weights.tensors["w"][0])

    def act(self, observation: Any, explore: bool = True) -> np.ndarray:
        return (self.value + observation / 100).astype(np.float32)


class Robot:
    """A robot's process, but for the process."""

    def __init__(self, spool: Spool, delivery: Delivery) -> None:
        self.spool, self.delivery = spool, delivery
        self.recorder = Recorder(spool, fps=10.0, task="reach", chunk_steps=4)
        self.policy = Policy()
        self.announced: list[str] = []
        self.shown: list[dict[str, Any]] = []

    def loop(self, env: Arm, **options: Any) -> RobotLoop:
        options = {"hold_after": 60.0} | options
        policy: Any = self.policy
        return RobotLoop(
            env,
            policy,
            self.recorder,
            self.delivery,
            announce=self.announced.append,
            show=self._show,
            **options,
        )

    def _show(self, info: dict[str, Any]) -> None:
        self.shown.append(info)
        assert len(self.shown) < 1000, f"it stands still for ever: {self.announced}"


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Learner]:
    learner = Learner(tmp_path / "learner")
    learner.bulletin.publish({"w": np.ones(1, np.float32)})
    yield learner
    learner.stop()


@pytest.fixture
def robot(tmp_path: Path, learner: Learner) -> Iterator[Robot]:
    with Spool(tmp_path / "spool", 1 << 20) as spool:
        robot = Robot(spool, delivery_to(spool, learner.port))
        until(lambda: robot.delivery.news.silence < 60.0)
        yield robot
        robot.recorder.close()
        robot.delivery.close()


def received(robot: Robot, learner: Learner) -> list[Chunk]:
    """All that the robot has recorded, at the learner."""
    robot.recorder.close()
    assert robot.delivery.flush(20.0)
    return [Chunk.from_bytes(data) for data in learner.received()]


def steps_of(chunks: list[Chunk]) -> list[int]:
    """The numbers of the steps that the learner got."""
    return [int(x) for chunk in chunks for x in chunk.observations["state"][1:, 0]]


def ends_of(chunks: list[Chunk]) -> dict[int, str]:
    """After which steps episodes have ended, and how."""
    return {
        int(chunk.observations["state"][-1, 0]): "terminated" if chunk.terminated else "truncated"
        for chunk in chunks
        if chunk.ends_episode
    }


def test_it_acts_with_the_policy_and_the_learner_gets_every_step(
    robot: Robot, learner: Learner
) -> None:
    env = Arm()
    loop = robot.loop(env)
    loop.run(seed=7, most_episodes=2)
    assert env.seeds == [7, None] and env.steps == 20
    chunks = received(robot, learner)
    assert steps_of(chunks) == list(range(1, 21))
    assert ends_of(chunks) == {10: "truncated", 20: "truncated"}
    actions = np.concatenate([chunk.actions[:, 0] for chunk in chunks])
    np.testing.assert_allclose(actions, 1 + np.arange(20) / 100, atol=1e-6)
    tally = loop.tally
    assert (tally.steps, tally.human_steps, tally.episodes, tally.holds) == (20, 0, 2, 0)
    assert len(tally.policy_ages) == 20 and all(0 <= age < 30 for age in tally.policy_ages)
    assert [outcome.episode_return for outcome in tally.outcomes] == [27.5, 77.5]


def test_a_human_step_is_recorded_as_it_was_carried_out(robot: Robot, learner: Learner) -> None:
    env = Arm()
    env.infos[3] = {"is_intervention": True, "teleop_action": np.array([42.0])}
    env.infos[4] = {"is_intervention": True, "teleop_action": np.array([43.0]), "succeed": True}
    loop = robot.loop(env)
    loop.run(seed=0, most_episodes=1)
    chunks = received(robot, learner)
    human = np.concatenate([chunk.is_intervention for chunk in chunks])
    actions = np.concatenate([chunk.actions[:, 0] for chunk in chunks])
    assert np.flatnonzero(human).tolist() == [2, 3] and actions[2:4].tolist() == [42, 43]
    assert [chunk.succeed for chunk in chunks] == [False, False, True], "said at the end"
    (outcome,) = loop.tally.outcomes
    assert (loop.tally.human_steps, outcome.human_steps, outcome.success) == (2, 2, True)


def test_new_weights_act_from_the_next_step_on(robot: Robot, learner: Learner) -> None:
    def learn() -> None:
        learner.bulletin.publish({"w": np.full(1, 5.0, np.float32)})
        until(lambda: robot.delivery.news._arrived is not robot.delivery.news._taken)

    env = Arm()
    env.at[4] = learn
    robot.loop(env).run(seed=0, most_episodes=1)
    actions = np.concatenate([chunk.actions[:, 0] for chunk in received(robot, learner)])
    assert np.floor(actions).tolist() == [1] * 4 + [5] * 6
    assert robot.policy.version == 2


def test_before_the_first_policy_nothing_moves(robot: Robot, learner: Learner) -> None:
    learner.stop()
    learner.bulletin = Bulletin(learner.bulletin.welcome)
    learner.start()
    assert robot.delivery.news.take() is not None, "that of the fixture's learner"
    env = WaitingArm()
    env.whiles = [
        lambda: until(lambda: robot.delivery.news.silence < 60.0),
        lambda: None,
        lambda: learner.bulletin.publish({"w": np.ones(1, np.float32)}),
    ]
    loop = robot.loop(env)
    loop.run(seed=0, most_episodes=1)
    first = env.does.index("reset")
    assert set(env.does[:first]) == {"stands still"} and first > 2
    assert "standing still: the learner has not sent a policy yet" in robot.announced
    assert robot.announced[-1] == "going on" and loop.tally.standing == ""
    assert loop.tally.holds == 0, "it had not begun"


def test_it_says_that_the_learner_learns_from_the_demonstrations_first(
    robot: Robot, learner: Learner
) -> None:
    learner.stop()
    learner.bulletin = Bulletin(learner.bulletin.welcome)
    learner.bulletin.tell({"warm_start": True})
    learner.start()
    assert robot.delivery.news.take() is not None, "that of the fixture's learner"
    env = WaitingArm()
    env.whiles = [
        lambda: until(lambda: robot.delivery.news.status.get("warm_start")),
        lambda: None,
        lambda: learner.bulletin.publish({"w": np.ones(1, np.float32)}),
    ]
    robot.loop(env).run(seed=0, most_episodes=1)
    said = "standing still: the learner learns from the demonstrations first"
    assert said in robot.announced
    assert robot.announced[-1] == "going on"


@pytest.mark.parametrize("arm", [Arm, WaitingArm])
def test_while_the_learner_is_away_the_robot_stands_still_and_then_goes_on(
    robot: Robot, learner: Learner, arm: type[Arm]
) -> None:
    def crash() -> None:
        learner.stop()
        until(lambda: robot.delivery.news.silence > 0.8)

    def restart(line: str) -> None:
        if line.startswith("standing still") and not away:
            away.append(len(env.does))
            learner.start()
        robot.announced.append(line)

    away: list[int] = []
    env = arm()
    env.at[6] = crash
    loop = robot.loop(env, hold_after=0.7)
    loop._announce = restart
    until(lambda: robot.delivery.news.silence < 0.5)
    loop.run(seed=0, most_episodes=2)
    chunks = received(robot, learner)
    assert steps_of(chunks) == list(range(1, 17))
    assert ends_of(chunks) == {6: "truncated", 16: "truncated"}
    assert away == [7], "it stood still right after the step"
    between = set(env.does[7 : env.does.index("step 7")])
    assert between == ({"stands still", "reset"} if arm is WaitingArm else {"reset"})
    assert robot.announced[0].startswith("standing still: the learner is away: ")
    assert robot.announced[-1] == "going on" and robot.announced.count("going on") == 1
    assert (loop.tally.holds, loop.tally.steps, loop.tally.episodes) == (1, 16, 2)
    assert loop.tally.standing == "" and {} in robot.shown


def test_a_short_silence_costs_no_step_any_time(robot: Robot, learner: Learner) -> None:
    took: list[float] = []

    def crash() -> None:
        learner.stop()
        env.at.update({step: lambda: took.append(time.monotonic()) for step in range(3, 10)})

    env = Arm()
    env.at[2] = crash
    env.at[10] = learner.start
    robot.loop(env).run(seed=0, most_episodes=2)
    assert took[-1] - took[0] < stretched(0.5), "no step waits for the network"
    assert steps_of(received(robot, learner)) == list(range(1, 21))


def test_one_line_says_that_the_learner_is_silent_however_long_it_is(
    robot: Robot, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stands, but nothing comes."""
    silence = iter([0.0, *range(1, 9), *[0.0] * 100])
    monkeypatch.setattr(type(robot.delivery.news), "silence", property(lambda _: next(silence)))
    robot.loop(WaitingArm(), hold_after=0.9).run(seed=0, most_episodes=2)
    assert robot.announced == [
        "standing still: the learner is away: it has fallen silent", "going on"
    ]  # fmt: skip


def test_a_step_that_was_interrupted_is_not_recorded(robot: Robot, learner: Learner) -> None:
    env = Arm()
    env.infos[4] = {"interrupted": "elbow_flex is 70 degrees hot"}
    loop = robot.loop(env)
    loop.run(seed=0, most_episodes=2)
    chunks = received(robot, learner)
    assert steps_of(chunks) == [1, 2, 3, *range(5, 15)]
    assert ends_of(chunks) == {3: "truncated", 14: "truncated"}
    assert robot.announced == ["interrupted: elbow_flex is 70 degrees hot"]
    assert loop.tally.steps == 13


def test_an_episode_whose_first_step_was_interrupted_is_none(
    robot: Robot, learner: Learner
) -> None:
    env = Arm()
    env.infos[1] = {"interrupted": "the cable is out"}
    loop = robot.loop(env)
    loop.run(seed=0, most_episodes=1)
    assert steps_of(received(robot, learner)) == list(range(2, 12))
    assert (loop.tally.episodes, len(loop.tally.outcomes), env.episodes) == (1, 1, 2)


def test_the_learner_hears_that_the_person_has_paused_until_the_next_episode(
    robot: Robot, learner: Learner
) -> None:
    def paused() -> bool:
        (it,) = learner.roster.robots()
        return it.paused

    env = Arm()
    env.infos[10] = {"paused": True}
    env.at["reset 2"] = lambda: until(paused)
    env.at[11] = lambda: until(lambda: not paused())
    env.at["reset 3"] = lambda: until(lambda: not paused())
    robot.loop(env).run(seed=0, most_episodes=3)
    assert env.episodes == 3


def test_it_ends_when_training_has(robot: Robot, learner: Learner) -> None:
    def end() -> None:
        learner.bulletin.tell({"done": True})
        until(lambda: bool(robot.delivery.news.status.get("done")))

    env = Arm()
    env.at[3] = end
    robot.loop(env).run(seed=0)
    assert env.does[-1] == "step 3"
    chunks = received(robot, learner)
    assert steps_of(chunks) == [1, 2, 3] and ends_of(chunks) == {3: "truncated"}


def test_a_success_counts_also_where_training_ends_before_the_episode_does(
    robot: Robot, learner: Learner
) -> None:
    def end() -> None:
        learner.bulletin.tell({"done": True})
        until(lambda: bool(robot.delivery.news.status.get("done")))

    env = Arm()
    env.at[3] = end
    env.infos[2] = {"succeed": True}
    loop = robot.loop(env)
    loop.run(seed=0)
    assert loop.tally.outcomes[0].success
    assert received(robot, learner)[-1].succeed


def test_the_person_may_end_it(robot: Robot, learner: Learner) -> None:
    def stop() -> None:
        raise OperatorStopError("the person pressed the key to stop")

    env = Arm()
    env.at["reset 2"] = stop
    with pytest.raises(OperatorStopError):
        robot.loop(env).run(seed=0)
    assert steps_of(received(robot, learner)) == list(range(1, 11))


def test_while_the_disk_is_full_it_stands_still_and_no_step_is_lost(
    robot: Robot, learner: Learner
) -> None:
    spool, room = robot.spool, robot.spool.capacity_bytes
    env = WaitingArm()

    def fill() -> None:
        spool.capacity_bytes = 10
        until(lambda: bool(robot.recorder.fault))

    env.at[6] = fill
    env.whiles = [lambda: None, lambda: setattr(spool, "capacity_bytes", room)]
    loop = robot.loop(env)
    loop.run(seed=0, most_episodes=2)
    chunks = received(robot, learner)
    assert steps_of(chunks) == list(range(1, 17))
    assert ends_of(chunks) == {6: "truncated", 16: "truncated"}
    assert "standing still: The spool" in robot.announced[0] and loop.tally.holds == 1


def test_what_can_never_be_recorded_ends_it_with_the_reason(
    robot: Robot, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = Arm()
    monkeypatch.setattr(
        env, "_seen", lambda: np.array([math.nan if env.steps else 0.0], np.float32)
    )
    env.at[8] = lambda: until(lambda: bool(robot.recorder.failure))
    with pytest.raises(RobotError, match=r"What the environment returns is refused: .*not finite"):
        robot.loop(env).run(seed=0)
    assert env.steps == 8


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        (np.zeros(1, np.float64), r"got float64 \(1,\) from 0 to 0, expected Box"),
        (np.zeros(2, np.float32), r"got float32 \(2,\)"),
        (np.full(1, -1.0, np.float32), r"from -1 to -1"),
    ],
)
def test_an_environment_that_breaks_its_space_is_refused_beside_the_robot(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, seen: np.ndarray, fault: str
) -> None:
    """The learner would leave every chunk out, and only its log would say so."""
    env = Arm()
    monkeypatch.setattr(env, "_seen", lambda: seen)
    with pytest.raises(RobotError, match=fault):
        robot.loop(env).run(seed=0)
    assert env.steps == 0


def test_a_human_action_outside_of_the_box_is_refused_beside_the_robot(robot: Robot) -> None:
    env = Arm()
    env.infos[3] = {"is_intervention": True, "teleop_action": np.full(1, 101.0, np.float32)}
    with pytest.raises(RobotError, match="not in its action space"):
        robot.loop(env).run(seed=0)


def test_a_learner_that_does_not_fit_ends_it_with_the_reason(
    tmp_path: Path, learner: Learner
) -> None:
    def check(welcome: dict[str, Any]) -> None:
        raise RefusedError(f"trunk {welcome['trunk']} is another one")

    with Spool(tmp_path / "spool", 1 << 20) as spool:
        robot = Robot(spool, delivery_to(spool, learner.port, check=check))
        env = Arm()
        with pytest.raises(RefusedError, match="trunk of this learner is another one"):
            robot.loop(env).run(seed=0)
        assert env.does == []
        robot.recorder.close()
        robot.delivery.close()


def test_a_simulated_environment_steps_at_its_rate(robot: Robot, learner: Learner) -> None:
    env, at = Arm(), []
    env.at = {number: lambda: at.append(time.monotonic()) for number in range(1, 11)}
    env.at[5] = lambda: (time.sleep(0.05), at.append(time.monotonic()))  # type: ignore[assignment]
    until(lambda: robot.delivery.news.silence < 5.0)
    robot.loop(env, period=0.03).run(seed=0, most_episodes=1)
    assert at[-1] - at[0] > 8 * 0.03, "one late step is made up for, many are not"
    assert np.median(np.diff(at)) == pytest.approx(0.03, abs=stretched(0.015))
