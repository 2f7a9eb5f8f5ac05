"""Training on robots: an iteration goes by time, and updates keep between two ratios to steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from e2hil_rllib.data.transitions import Transitions
from e2hil_rllib.external.learner.robot_feed import RobotFeed
from e2hil_rllib.learning.update_limiter import UpdateLimiter

_IDLE = 0.02  # how often it looks for steps, while there is nothing to learn [s]


class RobotTraining:
    """Takes in what robots send, learns as much as the limits allow, and sends the policy back.

    Args:
        robots: Who send steps.
        limiter: Says how many updates the steps owe, and how many they allow.
        store: Takes steps into replay.
        update: Does one batch of updates.
        publish: Gives the runners the newest policy.
        publish_interval: Between two of them, at least [s].
    """

    def __init__(
        self,
        robots: RobotFeed,
        limiter: UpdateLimiter,
        store: Callable[[Transitions], None],
        update: Callable[[], None],
        publish: Callable[[], None],
        publish_interval: float,
    ) -> None:
        self._robots, self._limiter = robots, limiter
        self._store, self._update, self._publish = store, update, publish
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
            self._store(transitions)

    def take_the_rest(self) -> bool:
        """Takes in what has come, and says whether every robot has ended before that."""
        self._robots.look()
        drained = self._robots.drained
        self.take()
        return drained
