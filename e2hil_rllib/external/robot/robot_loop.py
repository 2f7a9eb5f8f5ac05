"""The robot's loop: the policy acts, a person may take over, and the learner gets every step."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from e2hil_rllib.data.outcomes import WINDOW, EpisodeOutcome
from e2hil_rllib.errors import UserError
from e2hil_rllib.external.robot.delivery import Delivery, RefusedError
from e2hil_rllib.external.robot.policy import LocalPolicy
from e2hil_rllib.external.robot.recorder import Recorder, Step

_PERIOD = 0.03  # between two looks while the robot stands still [s]


class RobotError(UserError):
    """The robot cannot go on; the message says why and what to do."""


@dataclass
class Tally:
    """What the robot has done since it was started.

    Attributes:
        steps: carried out and recorded.
        human_steps: led by a human.
        holds: times that the robot had to stand still for want of a learner or of disk.
        outcomes: of the last finished episodes.
        policy_ages: how old the policy was at each of the last steps [s].
        standing: why the robot stands still now, "" where it does not.
    """

    steps: int = 0
    human_steps: int = 0
    episodes: int = 0
    holds: int = 0
    standing: str = ""
    outcomes: deque[EpisodeOutcome] = field(default_factory=lambda: deque(maxlen=WINDOW))
    policy_ages: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))


class RobotLoop:
    """Steps an environment with the learner's newest policy until somebody ends it.

    Nothing in a step waits for the network or the disk. When the learner has been silent for
    `hold_after`, or the disk takes nothing more, the episode is cut off after its last step and
    the robot stands still until that is over.

    Args:
        env: Any environment; where a person is at its arm, they begin each episode.
        policy: Acts.
        recorder: Takes the steps.
        delivery: Brings them to the learner, and its policies here.
        hold_after: Silence of the learner that ends an episode [s].
        period: How long a step of an environment lasts that does not wait by itself, as a
            simulated one [s]; 0 where it does.
        announce: Told what a person should know, a line each.
        show: Called with each step's info, and with {} while there is none: before an episode, and
            while the robot stands still.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        policy: LocalPolicy,
        recorder: Recorder,
        delivery: Delivery,
        *,
        hold_after: float = 10.0,
        period: float = 0.0,
        announce: Callable[[str], None] = lambda line: None,
        show: Callable[[dict[str, Any]], None] = lambda info: None,
    ) -> None:
        self._env, self._policy = env, policy
        self._recorder, self._delivery = recorder, delivery
        self._hold_after, self._period = hold_after, period
        self._announce, self._show = announce, show
        self._stand_still: Callable[[], None] = (
            env.get_wrapper_attr("stand_still")
            if env.has_wrapper_attr("stand_still")
            else lambda: time.sleep(_PERIOD)
        )
        self.tally = Tally()

    def run(self, seed: int, most_episodes: int | None = None) -> None:
        """Runs episode after episode.

        Args:
            seed: Of the environment's first start; later ones follow from it.
            most_episodes: Return after so many; None goes on until the learner is done.

        Raises:
            RefusedError: Learner and robot do not fit together.
            RobotError: What the environment returns cannot be recorded.
            OperatorStopError: From an environment whose person wants to stop.
        """
        next_seed: int | None = seed
        paused = False
        while most_episodes is None or self.tally.episodes < most_episodes:
            self._wait_until_ready()
            if self._done:
                return
            self._delivery.report(paused=paused)
            self._show({})
            observation, _ = self._env.reset(seed=next_seed)
            self._delivery.report(paused=False)
            next_seed = None
            paused = self._run_episode(observation)

    @property
    def _done(self) -> bool:
        return bool(self._delivery.news.status.get("done"))

    def _run_episode(self, observation: Any) -> bool:
        """Runs an episode to its end; says whether the person has paused the robot."""
        self._refuse_others(observation)
        self._recorder.begin(observation)
        ended, info, outcome = False, {}, _Outcome()
        due = time.monotonic()
        while not ended:
            self._take_policy()
            action = self._policy.act(observation)
            observation, reward, terminated, truncated, info = self._env.step(action)
            ended = terminated or truncated
            if info.get("interrupted"):
                self._announce(f"interrupted: {info['interrupted']}")
                break
            self._add(action, observation, float(reward), info, outcome)
            self._show(info)
            if ended:
                self._recorder.end(terminated=bool(terminated), succeed=outcome.succeed)
            elif self._done or self._hindrance():
                break
            due = self._wait_until(due)
        # An episode that was cut off here may have been a success before.
        self._recorder.end(terminated=False, succeed=outcome.succeed)
        if outcome.steps:
            self.tally.episodes += 1
            self.tally.outcomes.append(outcome.frozen())
        return bool(info.get("paused"))

    def _add(
        self,
        action: np.ndarray,
        observation: Any,
        reward: float,
        info: dict[str, Any],
        outcome: _Outcome,
    ) -> None:
        human = bool(info.get("is_intervention", False))
        done = np.asarray(info["teleop_action"], np.float32) if human else action
        if human and done not in self._env.action_space:
            raise RobotError(
                f"The environment reports the human's action {done}, which is not in its action "
                f"space {self._env.action_space}. It has to report the action that it executed."
            )
        self._recorder.add(Step(done, reward, human, observation))
        outcome.add(human, bool(info.get("succeed", False)), reward)
        self.tally.steps += 1
        self.tally.human_steps += human
        self.tally.policy_ages.append(self._delivery.news.policy_age)

    def _refuse_others(self, observation: Any) -> None:
        """The learner would leave out what its spaces do not hold, and only its log would say so.

        Raises:
            RobotError: The environment returns something else than its space says.
        """
        if observation not in self._env.observation_space:
            raise RobotError(
                f"The environment's observation is not in its space: got {_layout(observation)}, "
                f"expected {self._env.observation_space}. Mend the environment, or wrap it."
            )

    def _take_policy(self) -> None:
        """Swaps the newest weights in, between two steps."""
        weights = self._delivery.news.take()
        if weights is not None:
            self._policy.load(weights)

    def _hindrance(self) -> str:
        """Why no step should be taken now, "" where nothing hinders.

        Raises:
            RobotError: It will not pass.
        """
        if self._recorder.failure:
            raise RobotError(f"What the environment returns is refused: {self._recorder.failure}")
        if self._recorder.fault:
            return self._recorder.fault
        silence = self._delivery.news.silence
        if silence > self._hold_after:
            trouble = self._delivery.status.trouble
            if trouble:
                return f"the learner is away: {trouble} ('e2hil train CONFIG --resume' starts it)"
            said = "it has not answered yet" if math.isinf(silence) else "it has fallen silent"
            return f"the learner is away: {said}"
        return ""

    def _wait_until_ready(self) -> None:
        """Stands still while there is no learner, no policy of it, or no room on the disk."""
        told = ""
        while not self._done:
            self._take_policy()
            hindrance = self._hindrance()
            if not hindrance and not self._policy.version:
                hindrance = (
                    "the learner learns from the demonstrations first"
                    if self._delivery.news.status.get("warm_start")
                    else "the learner has not sent a policy yet"
                )
            status = self._delivery.status
            if status.refused:
                raise RefusedError(status.trouble)
            if not hindrance:
                break
            if hindrance != told:
                self.tally.holds += not self.tally.standing and self.tally.steps > 0
                self._announce(f"standing still: {hindrance}")
            told = self.tally.standing = hindrance
            self._show({})
            self._stand_still()
        if told:
            self._announce("going on")
        self.tally.standing = ""

    def _wait_until(self, due: float) -> float:
        """Waits out the period of an environment that does not; returns the next one's start."""
        if not self._period:
            return due
        due = max(due + self._period, time.monotonic() - self._period)
        time.sleep(max(0.0, due - time.monotonic()))
        return due


@dataclass
class _Outcome:
    """Of the episode that runs."""

    steps: int = 0
    human_steps: int = 0
    succeed: bool = False
    rewards: float = 0.0

    def add(self, human: bool, succeed: bool, reward: float) -> None:
        self.steps += 1
        self.human_steps += human
        self.succeed = self.succeed or succeed
        self.rewards += reward

    def frozen(self) -> EpisodeOutcome:
        return EpisodeOutcome(self.steps, self.human_steps, self.succeed, self.rewards)


def _layout(observation: Any) -> str:
    """Shapes, types and ranges of an observation's entries."""
    entries = observation if isinstance(observation, dict) else {"": observation}
    parts = []
    for name, value in entries.items():
        array = np.asarray(value)
        limits = f" from {array.min():.4g} to {array.max():.4g}" if array.size else ""
        parts.append(f"{name} {array.dtype} {array.shape}{limits}".strip())
    return "; ".join(parts)
