"""What the algorithm has seen: both buffers, filled as they store and kept over a checkpoint."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium as gym

from e2hil_rllib.data.collector import EpisodeCollector
from e2hil_rllib.data.episodes import read_episodes
from e2hil_rllib.data.replay import HumanInTheLoopReplay, ReplayBuffer
from e2hil_rllib.data.transitions import EpisodeSteps, Transitions
from e2hil_rllib.networks.frozen_trunk import features_for, save_trunk
from e2hil_rllib.networks.observation_encoder import camera_names, observation_spaces, stored_spaces

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

logger = logging.getLogger(__name__)

REPLAY = "replay"
"""The folder of the buffers in a checkpoint."""

_ROUNDING = 1e-4  # of rewards, which are float32


class Experience:
    """Both buffers, and a frozen trunk that turns frames into the features that they hold.

    Args:
        config: An ``E2HiLConfig``: capacities, mix, seed and vision.
        observation_space: Of the environment.
        action_size: Of the environment.
        return_bounds: The least and the most that an episode can return; None is without a bound.

    Raises:
        ValueError: On an observation space that cannot be encoded.
        TrunkWeightsError: The weights of the frozen trunk cannot be had.
    """

    def __init__(
        self,
        config: AlgorithmConfig,
        observation_space: gym.Space,
        action_size: int,
        return_bounds: tuple[float | None, float | None] = (None, None),
    ) -> None:
        self._config = config
        self._return_bounds = return_bounds
        self._warned = False  # that a return broke the bounds
        self._spaces = observation_spaces(observation_space)
        vision = config.vision_settings
        stored = stored_spaces(observation_space, vision)
        shapes = {key: shape for key, (shape, _) in stored.items()}
        dtypes = {key: dtype for key, (_, dtype) in stored.items()}
        self._features = features_for(vision, camera_names(observation_space))

        def buffer(capacity: int) -> ReplayBuffer:
            return ReplayBuffer(
                capacity, shapes, dtypes, action_size, gamma=config.gamma, n_step=config.n_step
            )

        self.replay = HumanInTheLoopReplay(
            buffer(config.online_capacity),
            buffer(config.demonstration_capacity),
            demonstration_fraction=config.demonstration_fraction,
            seed=config.seed,
        )

    @property
    def trunk_fingerprint(self) -> str | None:
        """Of the frozen trunk: its network, stage and weights, where there is one."""
        return None if self._features is None else self._features.trunk.fingerprint

    def add(self, transitions: Transitions) -> None:
        """Store online steps."""
        if not self._warned and (broken := self._broken_bound(transitions)):
            # An error would end a session with a person at the arm; they may set it later.
            logger.warning("episode %d: %s", transitions.episode, broken)
            self._warned = True
        self.replay.add(self._as_stored(transitions))

    def _broken_bound(self, transitions: Transitions) -> str | None:
        """Description of the return bound that transitions broke; None where it broke none."""
        lowest, highest = self._return_bounds
        least, most = transitions.return_range(self._config.gamma)
        if highest is not None and most > highest + _ROUNDING:
            name, found, bound, less, end = "highest_return", most, highest, "less", "most"
        elif lowest is not None and least < lowest - _ROUNDING:
            name, found, bound, less, end = "lowest_return", least, lowest, "more", "least"
        else:
            return None
        return (
            f"its steps returned {found:.4g}, {name}={bound:g} bounds what the critics may learn "
            f"to {less}. Set training.{name} to the {end} that an episode can return, or to null "
            "for no bound"
        )

    def _as_stored(self, transitions: Transitions) -> Transitions:
        if self._features is None:
            return transitions
        observations = self._features.of_arrays(transitions.observations)
        return dataclasses.replace(transitions, observations=observations)

    def add_demonstrations(self, folder: Path, collector: EpisodeCollector) -> None:
        """Store recorded episodes.

        Raises:
            ValueError: The folder holds none, too many, some of another environment, or one that
                returned less than ``lowest_return`` or more than ``highest_return``.
            DamagedEpisodeError: On a damaged one, unless damaged ones are skipped.
        """
        episodes = read_episodes(folder, skip_damaged=self._config.skip_damaged_demonstrations)
        if not episodes:
            raise ValueError(
                f"demonstrations={folder}: holds no episode files. Record some with "
                "`e2hil record CONFIG`, or set demonstrations=None"
            )
        steps = sum(episode.num_steps for episode in episodes)
        if steps > self._config.demonstration_capacity:
            raise ValueError(
                f"demonstrations={folder}: {steps} steps do not fit into "
                f"demonstration_capacity={self._config.demonstration_capacity}. Raise it, or take "
                "episodes out"
            )
        for episode in episodes:
            self._check(episode, folder)
            transitions = collector.transitions_of(episode)
            if broken := self._broken_bound(transitions):
                raise ValueError(f"demonstrations={folder}: episode {episode.episode}: {broken}")
            self.replay.add_demonstration(self._as_stored(transitions))

    def _check(self, episode: EpisodeSteps, folder: Path) -> None:
        shapes = {key: space.shape for key, space in self._spaces.items()}
        found = {key: x.shape[1:] for key, x in episode.observations.items()}
        if found != shapes:
            raise ValueError(
                f"demonstrations={folder}: episode {episode.episode} holds observations "
                f"{found}, the environment returns {shapes}. Record demonstrations with this "
                "configuration"
            )
        size = self.replay.online.action_size
        if episode.actions.shape[1] != size:
            raise ValueError(
                f"demonstrations={folder}: episode {episode.episode} holds actions of "
                f"{episode.actions.shape[1]} numbers, the environment takes {size}. Record "
                "demonstrations with this configuration"
            )

    def save(self, folder: Path, others: Sequence[Path]) -> None:
        """Write buffers and trunk into a checkpoint, sharing with ``others`` what is unchanged."""
        if self._features is not None:
            save_trunk(self._features.trunk, folder, others)
        if self._config.checkpoint_buffers:
            self.replay.save(folder / REPLAY, [other / REPLAY for other in others])
        else:
            logger.info("checkpoint_buffers=False: %s holds no replay buffers", folder)

    def load(self, folder: Path) -> bool:
        """Read the buffers of a checkpoint; says whether it has any.

        Raises:
            ValueError: They were saved with other spaces or capacities.
        """
        if not (folder / REPLAY).is_dir():
            return False
        self.replay.load(folder / REPLAY)
        return True

    def check_trunk(self, trained_on: str | None) -> None:
        """Features of another trunk than it was trained on would be noise to a policy.

        Raises:
            ValueError: The fingerprint is that of another trunk.
        """
        own = self.trunk_fingerprint
        if trained_on is not None and own is not None and own != trained_on:
            raise ValueError(
                f"the policy was trained on a frozen trunk with the weights {trained_on}, "
                f"trunk_weights={self._config.trunk_weights!r} of "
                f"{self._config.vision_settings.stage} has {own}. Set vision.trunk and "
                "vision.stride as they were, and name the file trunk-*.safetensors of the "
                "checkpoint as trunk_weights"
            )
