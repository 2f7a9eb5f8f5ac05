"""Training on robots: iterations by time, updates between two ratios to steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from e2hil_rllib.checkpointing import TrainingState
from e2hil_rllib.external.learner.robot_feed import RobotFeed

_IDLE = 0.02  # how often it looks for steps, while there is nothing to learn [s]


class RobotTraining:
    """Takes in what robots send, learns as much as the limits allow, and sends the policy back.

    Args:
        robots: Robots that send steps.
        state: Training state that takes the steps in.
        update: Function that does one batch of updates.
        publish: Function that gives robots the newest policy.
        publish_interval: Least time between two policies [s].
    """

    def __init__(
        self,
        robots: RobotFeed,
        state: TrainingState,
        update: Callable[[], None],
        publish: Callable[[], None],
        publish_interval: float,
    ) -> None:
        self._robots, self._state, self._limiter = robots, state, state.limiter
        self._update, self._publish = update, publish
        self._publish_interval = publish_interval
        self._published = -math.inf  # when robots got the newest policy [s]
        self._unpublished = True

    def iterate(self, seconds: float) -> None:
        """Trains for so long [s], and for the batch that is being learned then.

        While the lowest ratio is not reached, nothing more is taken in; robots keep it meanwhile.
        While every robot is paused, only what is owed is learned.
        """
        end = time.monotonic() + seconds
        self._robots.look()
        while time.monotonic() < end:
            if not self._limiter.owes_update():
                self.take()
            free = self._limiter.allows_update() and not self._robots.paused
            if self._limiter.owes_update() or free:
                self._update()
                self._unpublished = True
            else:
                time.sleep(_IDLE)
            if self._unpublished and time.monotonic() - self._published > self._publish_interval:
                self._publish()
                self._published, self._unpublished = time.monotonic(), False

    def take(self) -> None:
        """Takes in what has come."""
        for transitions in self._robots.take():
            self._state.store(transitions)

    def drain(self) -> bool:
        """Takes in what has come, and says whether every robot has ended before that."""
        self._robots.look()
        drained = self._robots.drained
        self.take()
        return drained
