"""RLlink, the protocol that RLlib's own external clients speak, on the server's side."""

from __future__ import annotations

import ipaddress
import pickle
from collections.abc import Iterator
from functools import partial
from typing import Any

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from e2hil_rllib.external.protocol.codec import MessageError, encode
from e2hil_rllib.external.rllink.episode_states import episode_from_state
from e2hil_rllib.external.rllink.exchange import Exchange

PONG = encode({"type": "PONG"})


class RLlinkSession:
    """One client's conversation; it implements `e2hil_rllib.external.learner.listener.Session`.

    A client may ask for the algorithm's configuration, which RLlib sends pickled: it gets it on
    this machine only. Nothing that a client sends is unpickled.

    Args:
        exchange: Takes the episodes, gives the weights.
        config: What GET_CONFIG is answered with.
        observation_space: Of the episodes.
        action_space: Of the episodes.
        address: The client's.
    """

    def __init__(
        self,
        exchange: Exchange,
        config: AlgorithmConfig,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        address: tuple[Any, ...],
    ) -> None:
        self._exchange = exchange
        self._config = config
        self._episode = partial(
            episode_from_state, observation_space=observation_space, action_space=action_space
        )
        self._address = address

    def answer(self, message: dict[str, Any]) -> Iterator[bytes]:
        """Takes a message in, and gives the bodies to answer with.

        The answer to EPISODES_AND_GET_STATE waits for weights that are newer than the episodes.

        Raises:
            MessageError: The message is none of RLlink's, or its episodes are damaged.
        """
        match message.get("type"):
            case "PING":
                yield PONG
            case "GET_CONFIG":
                yield self._pickled_config()
            case "GET_STATE":
                yield self._exchange.state_after(0)
            case "EPISODES":
                self._exchange.put(self._episodes(message))
            case "EPISODES_AND_GET_STATE":
                version = self._exchange.version
                self._exchange.put(self._episodes(message))
                yield self._exchange.state_after(version)
            case other:
                raise MessageError(f"{other!r} is no message that a client sends")

    def end(self) -> None:
        """Nothing is kept of a client."""

    def _episodes(self, message: dict[str, Any]) -> list[SingleAgentEpisode]:
        states = message.get("episodes")
        if not isinstance(states, list):
            raise MessageError("a message with episodes has no list of them")
        episodes = (self._episode(state) for state in states)
        return [episode for episode in episodes if len(episode)]

    def _pickled_config(self) -> bytes:
        if not ipaddress.ip_address(self._address[0]).is_loopback:
            raise MessageError("the configuration is sent to clients on this machine only")
        return encode({"type": "SET_CONFIG", "config": pickle.dumps(self._config)})
