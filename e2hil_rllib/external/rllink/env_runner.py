"""The EnvRunner whose environment is elsewhere: clients step it and send the episodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from functools import partial
from typing import Any

import ray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import (
    EPISODE_DURATION_SEC_MEAN,
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MEAN,
    WEIGHTS_SEQ_NO,
)

from e2hil_rllib.external.learner.listener import Listener
from e2hil_rllib.external.protocol.codec import encode
from e2hil_rllib.external.rllink.exchange import Exchange
from e2hil_rllib.external.rllink.session import RLlinkSession

_PATIENCE = 0.05  # a sample waits so long for something to come [s]
_PORT = 5555


class ExternalEnvRunner(EnvRunner, Checkpointable):
    """Serves clients that step environments of their own, as RLlib's external example does.

    `sample` returns what has arrived, at once or after 50 ms, so that weights can be set while
    nothing comes. It listens on this machine, at the port `env_config["port"]` (5555 if not set)
    plus the runner's index.

    Args:
        config: Has the observation and action space of the clients' environments.
        **kwargs: RLlib's: `worker_index` and others.
    """

    def __init__(self, *, config: AlgorithmConfig, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.worker_index: int = kwargs.get("worker_index") or 0
        spec = self.config.get_rl_module_spec(spaces=self.get_spaces(), inference_only=True)
        self.module = spec.build()
        self._weights_seq_no = 0
        self._done: list[SingleAgentEpisode] = []
        self._ongoing: defaultdict[str, list[SingleAgentEpisode]] = defaultdict(list)
        self._exchange = Exchange()
        self._publish()
        session = partial(
            RLlinkSession,
            self._exchange,
            self.config,
            self.config.observation_space,
            self.config.action_space,
        )
        port = int(self.config.env_config.get("port", _PORT)) + self.worker_index
        self._listener = Listener("127.0.0.1", port, session)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listener.port

    def assert_healthy(self) -> None:
        """Makes sure that clients can connect.

        Raises:
            RuntimeError: Nobody listens for them.
        """
        self._listener.check()

    def sample(self, **kwargs: Any) -> list[SingleAgentEpisode]:
        """Returns the chunks of episodes that have come since the last call, oldest first."""
        chunks = self._exchange.take(_PATIENCE)
        for chunk in chunks:
            if chunk.is_done:
                self._done.append(chunk)
            else:
                self._ongoing[chunk.id_].append(chunk)
        finished = sum(chunk.is_done for chunk in chunks)
        SingleAgentEnvRunner._increase_sampled_metrics(
            self, sum(len(chunk) for chunk in chunks), finished
        )
        return chunks

    def get_metrics(self) -> dict[str, Any]:
        """RLlib's metrics of the episodes that have ended since the last call."""
        window = self.config.metrics_num_episodes_for_smoothing
        for episode in self._done:
            chunks = [*self._ongoing.pop(episode.id_, []), episode]
            figures = {
                EPISODE_LEN_MEAN: sum(len(chunk) for chunk in chunks),
                EPISODE_RETURN_MEAN: sum(chunk.get_return() for chunk in chunks),
                EPISODE_DURATION_SEC_MEAN: sum(chunk.get_duration_s() for chunk in chunks),
            }
            for name, value in figures.items():
                self.metrics.log_value(name, value, window=window)
        self._done.clear()
        metrics: dict[str, Any] = self.metrics.reduce()
        return metrics

    def get_spaces(self) -> dict[str, Any]:
        """The spaces of the clients' environments."""
        spaces = (self.config.observation_space, self.config.action_space)
        return {INPUT_ENV_SPACES: spaces, DEFAULT_MODULE_ID: spaces}

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The module's weights and their number."""
        return {
            COMPONENT_RL_MODULE: self.module.get_state(),
            WEIGHTS_SEQ_NO: self._weights_seq_no,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes new weights, and sends them to the clients that wait for some."""
        number = state.get(WEIGHTS_SEQ_NO, 0)
        # No number, or 0, is to be taken in any case; an older one than there is, never.
        if COMPONENT_RL_MODULE in state and (number == 0 or number > self._weights_seq_no):
            weights = state[COMPONENT_RL_MODULE]
            if isinstance(weights, ray.ObjectRef):
                weights = ray.get(weights)
            self.module.set_state(weights.get(DEFAULT_MODULE_ID, weights))
        self._weights_seq_no = max(number, self._weights_seq_no)
        self._publish()

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a checkpoint builds the runner from."""
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """The module."""
        return [(COMPONENT_RL_MODULE, self.module)]

    def stop(self) -> None:
        """Ends all conversations."""
        self._exchange.stop()
        self._listener.close()

    def _publish(self) -> None:
        self._exchange.publish(encode({"type": "SET_STATE", "state": self.get_state()}))
