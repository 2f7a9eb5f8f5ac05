"""Ties updates to inserted steps: so many updates for every step, over a whole run."""

from __future__ import annotations

from typing import Any


class UpdateLimiter:
    """Counts environment steps and updates, and says when an update is owed.

    Learning starts once ``learning_starts`` online steps are stored; from then on every step owes
    ``lowest`` updates and allows ``highest``. Between the two a learner runs freely.

    Args:
        utd_ratio: Updates in one batch.
        learning_starts: Online steps before the first update.
        lowest: Updates that each step owes; ``utd_ratio`` if not given.
        highest: Updates that each step allows; ``lowest`` if not given.
    """

    def __init__(
        self,
        utd_ratio: int,
        learning_starts: int,
        lowest: float | None = None,
        highest: float | None = None,
    ):
        self._utd_ratio = utd_ratio
        self._learning_starts = learning_starts
        self._lowest = float(utd_ratio) if lowest is None else lowest
        self._highest = self._lowest if highest is None else highest
        #: Environment steps stored since the run began.
        self.env_steps = 0
        #: Minibatch updates done since the run began.
        self.updates = 0

    def inserted(self, num_steps: int) -> None:
        """Count steps that were stored."""
        self.env_steps += num_steps

    def updated(self) -> None:
        """Count one batch of ``utd_ratio`` updates."""
        self.updates += self._utd_ratio

    def owes_update(self) -> bool:
        """Whether a batch of updates is owed."""
        return self.updates < (self.env_steps - self._learning_starts + 1) * self._lowest

    def allows_update(self) -> bool:
        """Whether a batch of updates may be done."""
        return self.updates < (self.env_steps - self._learning_starts + 1) * self._highest

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"env_steps": self.env_steps, "updates": self.updates}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.env_steps, self.updates = state["env_steps"], state["updates"]
