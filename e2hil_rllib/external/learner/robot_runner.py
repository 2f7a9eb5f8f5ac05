"""The EnvRunner whose environment is a robot's, in a process and mostly on a machine of its own."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.checkpoints import Checkpointable

from e2hil_rllib.external.learner.arrivals import Arrival, Arrivals
from e2hil_rllib.external.learner.bulletin import Bulletin
from e2hil_rllib.external.learner.inbox import Inbox
from e2hil_rllib.external.learner.listener import Listener
from e2hil_rllib.external.learner.robot_session import RobotSession
from e2hil_rllib.external.learner.roster import Robot, Roster
from e2hil_rllib.external.protocol.chunk import Chunk
from e2hil_rllib.external.protocol.spaces import describe
from e2hil_rllib.networks.frozen_trunk import features_for
from e2hil_rllib.networks.observation_encoder import camera_names, observation_spaces

_MOST_STEPS = 500  # of a sample


class RobotEnvRunner(EnvRunner, Checkpointable):
    """Serves the robots that connect to it, and keeps what they send until it is logged.

    It listens at the port of the configuration's `connector`, the n-th remote runner at the n-th
    port from there on; with remote runners the local one does not listen. Each has an inbox of its
    own.

    Args:
        config: An ``E2HiLConfig`` with a `connector`, and the spaces of the robots' environments.
        **kwargs: RLlib's: `worker_index` and others.

    Raises:
        ListenError: The address cannot be had.
        UserError: The inbox or the token cannot be used.
    """

    def __init__(self, *, config: AlgorithmConfig, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.worker_index: int = kwargs.get("worker_index") or 0
        # SAC's algorithm looks at it; the policy acts elsewhere.
        spec = self.config.get_rl_module_spec(spaces=self.get_spaces(), inference_only=True)
        self.module = spec.build()
        self._spaces = observation_spaces(self.config.observation_space)
        features = features_for(config.vision_settings, camera_names(config.observation_space))
        self._bulletin = Bulletin(
            {
                "spaces": {
                    "observations": describe(self.config.observation_space),
                    "actions": describe(self.config.action_space),
                },
                "trunk": "" if features is None else features.trunk.fingerprint,
            }
        )
        self._policy: dict[str, np.ndarray] = {}
        self._roster = Roster()
        self._inbox: Inbox | None = None
        self._listener: Listener | None = None
        if self.worker_index > 0 or self.config.num_env_runners == 0:
            self._listen()

    def _listen(self) -> None:
        connector = self.config.connector
        place = max(0, self.worker_index - 1)
        self._inbox = Inbox(Path(connector.inbox) / f"runner_{place}")
        self._arrivals = Arrivals(self._inbox, self._check)
        session = partial(
            RobotSession, self._inbox, self._bulletin, self._roster, connector.token()
        )
        try:
            port = connector.port + place if connector.port else 0
            self._listener = Listener(connector.host, port, session, tls=connector.tls())
        except BaseException:
            self._inbox.close()
            raise

    @property
    def port(self) -> int | None:
        """Where it listens, None if it does not."""
        return None if self._listener is None else self._listener.port

    def assert_healthy(self) -> None:
        """Makes sure that robots can connect.

        Raises:
            RuntimeError: Nobody listens for them.
        """
        if self._listener is not None:
            self._listener.check()

    def sample(self, **kwargs: Any) -> list[Arrival]:
        """Returns at once what has come since the last call, each robot's steps in order.

        Raises:
            RuntimeError: Nobody listens for robots any more.
        """
        if self._listener is None:
            return []
        self._listener.check()
        return self._arrivals.take(_MOST_STEPS)

    def finish(self, arrival: Arrival) -> None:
        """Deletes from the inbox what is in the episode log, up to an episode's last arrival."""
        assert self._inbox is not None
        self._inbox.finish(arrival.stream, arrival.sequence)

    def tell(self, status: dict[str, Any]) -> None:
        """Lets robots know how training goes: plain values by name."""
        self._bulletin.tell(status)

    def robots(self) -> list[Robot]:
        """The robots that have connected, and what they said last."""
        return self._roster.robots()

    def restart(self, *seeds: int) -> None:
        """Begins anew with the first episode that is not finished, after an algorithm was set back.

        Nothing here is drawn; a robot seeds its own environment.
        """
        if self._inbox is not None:
            self._arrivals = Arrivals(self._inbox, self._check)

    def get_metrics(self) -> dict[str, Any]:
        """How many robots there are, and how many chunks they keep back."""
        robots = [robot for robot in self._roster.robots() if robot.connected]
        self.metrics.log_value("robots", len(robots), reduce="sum", window=1)
        waiting = sum(robot.waiting for robot in robots)
        self.metrics.log_value("robots_waiting_chunks", waiting, reduce="sum", window=1)
        metrics: dict[str, Any] = self.metrics.reduce()
        return metrics

    def get_spaces(self) -> dict[str, Any]:
        """The spaces of the robots' environments."""
        spaces = (self.config.observation_space, self.config.action_space)
        return dict.fromkeys((INPUT_ENV_SPACES, INPUT_ENV_SINGLE_SPACES), spaces) | {
            DEFAULT_MODULE_ID: spaces
        }

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Nothing: the learner has the policy, and the inbox is on the disk."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes a new policy, which robots get by `publish`.

        RLlib sets a policy also while an algorithm is built and restored: one that was just drawn
        at random, for example, with which no arm should move.
        """
        weights = state.get(COMPONENT_RL_MODULE)
        if weights is None:
            return
        if isinstance(weights, ray.ObjectRef):
            weights = ray.get(weights)
        tensors = weights.get(DEFAULT_MODULE_ID, weights)
        self._policy = {name: np.array(value) for name, value in tensors.items()}

    def publish(self) -> None:
        """Gives robots the policy that was set last."""
        if self._policy:
            self._bulletin.publish(self._policy)

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a checkpoint builds the runner from."""
        return (), {"config": self.config}

    def stop(self) -> None:
        """Ends all conversations; harmless the second time."""
        if self._listener is not None:
            self._listener.close()
        if self._inbox is not None:
            self._inbox.close()

    def _check(self, chunk: Chunk) -> None:
        """Refuses steps of another environment, which nobody could learn from.

        Raises:
            ValueError: Its observations or actions are not those of the spaces.
        """
        for key in chunk.observations:
            if key not in self._spaces:
                raise ValueError(f"observation {key!r} is in none of the spaces")
        for key, space in self._spaces.items():
            array = chunk.observations.get(key)
            found = None if array is None else (array.shape[1:], array.dtype)
            if found != (space.shape, space.dtype):
                raise ValueError(f"observation {key!r} is {found}, expected {space}")
        actions, space = chunk.actions, self.config.action_space
        if actions.shape[1:] != space.shape:
            raise ValueError(f"actions have shape {actions.shape}, expected (T, {space.shape})")
        if (actions < space.low - 1e-4).any() or (actions > space.high + 1e-4).any():
            raise ValueError(f"an action lies outside of {space}")
