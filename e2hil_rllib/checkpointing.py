"""Checkpointing: saved state and resuming."""

from __future__ import annotations

import importlib
import logging
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2hil_rllib.data.collector import EpisodeCollector
from e2hil_rllib.data.episodes import episode_path, read_episode
from e2hil_rllib.data.experience import Experience
from e2hil_rllib.data.outcomes import outcome_rates
from e2hil_rllib.data.replay import HumanInTheLoopReplay
from e2hil_rllib.data.transitions import INTERVENTION, Transitions
from e2hil_rllib.learning.update_limiter import UpdateLimiter
from e2hil_rllib.networks.frozen_trunk import saved_trunk
from e2hil_rllib.settings.presets import PAPER, preset_settings

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

logger = logging.getLogger(__name__)

#: In place of a folder in a checkpoint's configuration: the buffers hold the demonstrations.
IN_CHECKPOINT = "(in the checkpoint)"

CLASS_AND_ARGUMENTS = "class_and_ctor_args.pkl"
"""File of a checkpoint from which RLlib builds the algorithm."""

#: Modules by the names they have in the pickles of older checkpoints.
_MOVED_MODULES = {
    "e2hil_rllib.metrics": "e2hil_rllib.data.outcomes",
    "e2hil_rllib.learner": "e2hil_rllib.learning.learner",
    "e2hil_rllib.rl_module": "e2hil_rllib.learning.rl_module",
    "e2hil_rllib.vision.settings": "e2hil_rllib.networks.vision_settings",
    "e2hil_rllib.external.connector": "e2hil_rllib.external.learner.connector",
    "e2hil_rllib.external.robot_runner": "e2hil_rllib.external.learner.robot_runner",
}


class TrainingState:
    """All that training holds besides networks, optimizers, temperature and RLlib's own state.

    A checkpoint holds the networks' part by RLlib, and of this object: the buffers and the frozen
    trunk as files (:meth:`save`), counters, random streams and open episodes as plain values
    (:meth:`state`). What was logged between a checkpoint and the end of its process is recovered
    from the episode log.

    Args:
        experience: Both buffers.
        collector: Numbers and logs episodes.
        limiter: Counts steps and updates.
        warm_started: Whether there is no warm start to come.
    """

    def __init__(
        self,
        experience: Experience,
        collector: EpisodeCollector,
        limiter: UpdateLimiter,
        *,
        warm_started: bool,
    ) -> None:
        self.experience, self.collector, self.limiter = experience, collector, limiter
        self.human_steps = self.takeovers = 0
        self.warm_started = warm_started
        self._buffers_missing = False

    @property
    def replay(self) -> HumanInTheLoopReplay:
        """Both buffers."""
        return self.experience.replay

    def store(self, transitions: Transitions) -> None:
        """Take transitions into replay, and count them."""
        self.experience.add(transitions)
        self.human_steps += int((transitions.source == INTERVENTION).sum())
        self.takeovers += transitions.takeovers
        self.limiter.inserted(len(transitions))

    def progress(self) -> dict[str, float]:
        """Counters and rates, as robots are told them."""
        return {
            "env_steps": self.limiter.env_steps,
            "updates": self.limiter.updates,
            "human_steps": self.human_steps,
            "takeovers": self.takeovers,
            "episodes": self.collector.next_episode,
            **outcome_rates(self.collector.outcomes),
        }

    def state(self) -> dict[str, Any]:
        """Counters, random streams and open episodes."""
        return {
            "limiter": self.limiter.state(),
            "collector": self.collector.state(),
            "human_steps": self.human_steps,
            "warm_started": self.warm_started,
            "takeovers": self.takeovers,
            "replay_random_state": self.replay.random_state(),
            "trunk": self.experience.trunk_fingerprint,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state` returned, and recover what was logged since."""
        self.limiter.set_state(state["limiter"])
        self.human_steps = state["human_steps"]
        self.warm_started = state.get("warm_started", True)
        self.takeovers = state.get("takeovers", 0)  # older checkpoints did not count them
        self.replay.set_random_state(state["replay_random_state"])
        self._recover_logged_episodes(state["collector"])

    def save(self, folder: Path, others: Sequence[Path]) -> None:
        """Write buffers and trunk into a checkpoint, sharing with ``others`` what is unchanged."""
        self.experience.save(folder, others)

    def load(self, folder: Path) -> None:
        """Read the buffers of a checkpoint; without any, episodes of the log will fill them.

        Raises:
            ValueError: They were saved with other spaces or capacities.
        """
        self._buffers_missing = not self.experience.load(folder)

    def _recover_logged_episodes(self, collector_state: dict[str, Any]) -> None:
        log = self.collector.episode_log
        since = list(self.collector.resume(collector_state))
        if self._buffers_missing and log is not None:
            for number in range(self.collector.next_episode):
                path = episode_path(log, number)
                if number not in since and path.exists():
                    self.experience.add(self.collector.transitions_of(read_episode(path)))
        for number in since:
            assert log is not None
            path = episode_path(log, number)
            transitions = self.collector.recover(read_episode(path))
            known = collector_state["open_steps"].get(number, 0)
            if self._buffers_missing:
                self.experience.add(transitions.part(0, known))
            self.store(transitions.part(known, len(transitions)))
            logger.info("recovered %d steps of %s", len(transitions) - known, path)


def saved_algorithm(checkpoint: Path) -> tuple[Any, dict[str, Any]]:
    """Class and configuration state that a checkpoint's algorithm is built from.

    RLlib would build it from the saved configuration as it is: one that is older than the presets
    would lack settings, and the trunk's weights would be looked for where they were.
    """
    saved = pickle.loads((checkpoint / CLASS_AND_ARGUMENTS).read_bytes())
    (state,), _ = saved["ctor_args_and_kwargs"]
    config = preset_settings(PAPER) | state
    if (trunk := saved_trunk(checkpoint)) is not None:
        config["trunk_weights"] = str(trunk.resolve())
    return saved["class"], config


def config_for_checkpoint(config: AlgorithmConfig) -> dict[str, Any]:
    """State of a configuration, without the folder of demonstrations, which the buffers hold."""
    config = config.copy(copy_frozen=False)
    if config.demonstrations is not None and config.checkpoint_buffers:
        config.demonstrations = IN_CHECKPOINT
    state: dict[str, Any] = config.get_state()
    return state


def name_moved_modules() -> None:
    """Let pickles find moved classes under their old names."""
    for old, new in _MOVED_MODULES.items():
        sys.modules.setdefault(old, importlib.import_module(new))
