"""The units of actions: an environment's box, and the cube that policy and critic see."""

from __future__ import annotations

import gymnasium as gym
import numpy as np


class ActionScale:
    """Actions between the environment's box and [−1, 1]^d, the units that policy and critic see."""

    def __init__(self, space: gym.spaces.Box):
        self.low, self.high = space.low.astype(np.float32), space.high.astype(np.float32)

    def to_unit(self, action: np.ndarray) -> np.ndarray:
        """Environment units to [−1, 1]."""
        return 2 * (action - self.low) / (self.high - self.low) - 1

    def to_environment(self, action: np.ndarray) -> np.ndarray:
        """[−1, 1] to environment units."""
        return self.low + (action + 1) / 2 * (self.high - self.low)
