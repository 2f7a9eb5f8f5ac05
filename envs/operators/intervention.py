"""Wrapper through which an operator takes over from a policy."""

from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checked import checked_action
from envs.so101 import SO101Env


class Operator(Protocol):
    """Operator who watches the arm and may lead it: a person at a leader arm or a model of one."""

    def reset(self, env: SO101Env, seed: int | None) -> None:
        """Begin to watch a new episode.

        Args:
            env: Environment after its reset.
            seed: Seed of the operator's own random draws; None continues them.
        """
        ...

    def act(self) -> NDArray[np.floating] | None:
        """Return the action to execute, shape (4,), or None to leave the step to the policy."""
        ...


class InterventionWrapper(gymnasium.Wrapper):
    """Wrapper that executes the operator's action in place of the policy's while they lead.

    ``info`` then has ``is_intervention`` set and holds the executed action as ``teleop_action``
    (float32, clipped to the action space). When control changes, to the operator or back, the arm's
    command is set to its measured pose, so that it never jumps.

    Args:
        env: ``SO101Env``, possibly wrapped.
        operator: Operator who may take over.

    Raises:
        TypeError: If the innermost environment is no ``SO101Env``.
    """

    def __init__(self, env: gymnasium.Env, operator: Operator) -> None:
        super().__init__(env)
        if not isinstance(env.unwrapped, SO101Env):
            raise TypeError(f"operators lead an SO101Env, got {env.unwrapped!r}")
        self._arm_env = env.unwrapped
        self._operator = operator
        self._leading = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode, in which the policy acts at first."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._operator.reset(self._arm_env, seed)
        self._leading = False
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Execute the operator's action, or the given one if the operator does not lead.

        Raises:
            ValueError: If the executed action has the wrong shape or is not finite.
        """
        led = self._operator.act()
        if (led is not None) != self._leading:
            self._leading = led is not None
            self._arm_env.synchronize()
        if led is None:
            return self.env.step(action)
        executed = checked_action(led, "the operator's action").astype(np.float32)
        observation, reward, terminated, truncated, info = self.env.step(executed)
        info["is_intervention"] = True
        info["teleop_action"] = executed
        return observation, reward, terminated, truncated, info
