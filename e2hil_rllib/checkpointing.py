"""What of the algorithm a checkpoint holds, and how it goes on from one."""

from __future__ import annotations

import importlib
import logging
import pickle
import sys
from pathlib import Path
from typing import Any

from ray.rllib.algorithms.sac import SAC

from e2hil_rllib.data.collector import EpisodeCollector
from e2hil_rllib.data.episodes import episode_path, read_episode
from e2hil_rllib.data.experience import Experience
from e2hil_rllib.data.replay import HumanInTheLoopReplay
from e2hil_rllib.data.transitions import Transitions
from e2hil_rllib.learning.update_limiter import UpdateLimiter
from e2hil_rllib.networks.frozen_trunk import saved_fingerprint, saved_trunk
from e2hil_rllib.run.selection_log import SelectionLog
from e2hil_rllib.settings.presets import PAPER, preset_settings

logger = logging.getLogger(__name__)

#: In place of a folder in a checkpoint's configuration: the buffers hold the demonstrations.
IN_CHECKPOINT = "(in the checkpoint)"

_STATE = "e2hil"

#: Modules by the names they have in the pickles of older checkpoints.
_MOVED_MODULES = {
    "e2hil_rllib.metrics": "e2hil_rllib.data.outcomes",
    "e2hil_rllib.learner": "e2hil_rllib.learning.learner",
    "e2hil_rllib.rl_module": "e2hil_rllib.learning.rl_module",
    "e2hil_rllib.vision.settings": "e2hil_rllib.networks.vision_settings",
    "e2hil_rllib.external.connector": "e2hil_rllib.external.learner.connector",
    "e2hil_rllib.external.robot_runner": "e2hil_rllib.external.learner.robot_runner",
}


class ResumableSAC(SAC):
    """SAC that goes on exactly where its checkpoint, and its episode log since, left it.

    A checkpoint holds the networks, the optimizers, the temperature, both buffers, the random
    streams and the counters. Its attributes are set by :meth:`setup` of the algorithm.
    """

    #: Both buffers.
    replay: HumanInTheLoopReplay
    _experience: Experience
    _collector: EpisodeCollector
    _limiter: UpdateLimiter
    _selection_log: SelectionLog | None
    _human_steps: int
    _warm_started: bool
    _takeovers: int
    _rebuild = False

    def _store(self, transitions: Transitions) -> None:
        """Take steps into replay, and count them."""
        raise NotImplementedError

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """State of RLlib's algorithm, and counters and random streams of this one."""
        return super().get_state(*args, **kwargs) | {
            _STATE: {
                "limiter": self._limiter.state(),
                "collector": self._collector.state(),
                "human_steps": self._human_steps,
                "warm_started": self._warm_started,
                "takeovers": self._takeovers,
                "replay_random_state": self.replay.random_state(),
                "trunk": self._experience.trunk_fingerprint,
            }
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`get_state` returned.

        Raises:
            ValueError: When it was trained on the features of another frozen trunk.
        """
        self._experience.check_trunk(state.get(_STATE, {}).get("trunk"))
        super().set_state(state)
        if own := state.get(_STATE):
            self._limiter.set_state(own["limiter"])
            if self._selection_log is not None:
                self._selection_log.go_on_from(self._limiter.env_steps)
            self._human_steps = own["human_steps"]
            self._warm_started = own.get("warm_started", True)
            self._takeovers = own.get("takeovers", 0)  # older checkpoints did not count them
            self.replay.set_random_state(own["replay_random_state"])
            self._recover_logged_episodes(own["collector"])
            seed = (self.config.seed or 0, self._limiter.env_steps)
            self.env_runner_group.foreach_env_runner(lambda runner: runner.restart(*seed))

    def save_to_path(self, path: str | Path | None = None, **kwargs: Any) -> str:
        """Save everything below a folder, sharing old frames with the checkpoints beside it."""
        if path is not None:
            path = Path(path).resolve()  # RLlib takes a relative path for a URI
        saved = Path(super().save_to_path(path, **kwargs))
        others = [o for o in saved.parent.iterdir() if o != saved and o.is_dir()]
        self._experience.save(saved, others)
        return str(saved)

    @classmethod
    def from_checkpoint(cls, path: Any, *args: Any, **kwargs: Any) -> ResumableSAC:
        """A new algorithm as it was saved; the weights of a frozen trunk are in the checkpoint."""
        _name_moved_modules()
        file = (
            Path(path) / cls.CLASS_AND_CTOR_ARGS_FILE_NAME if isinstance(path, str | Path) else None
        )
        if file is None or not file.exists():
            remote: ResumableSAC = super().from_checkpoint(path, *args, **kwargs)
            return remote
        # RLlib would build it from the saved configuration as it is: one that is older than the
        # presets would lack settings, and the trunk's weights would be looked for where they were.
        saved = pickle.loads(file.read_bytes())
        (state,), _ = saved["ctor_args_and_kwargs"]
        config = preset_settings(PAPER) | state
        if (trunk := saved_trunk(path)) is not None:
            config["trunk_weights"] = str(trunk.resolve())
        algorithm: ResumableSAC = saved["class"](config)
        algorithm.restore_from_path(path, *args, **kwargs)
        return algorithm

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a checkpoint builds the algorithm from.

        The demonstrations are in its buffers by then, so that their folder may be gone.
        """
        config = self.config.copy(copy_frozen=False)
        if config.demonstrations is not None and config.checkpoint_buffers:
            config.demonstrations = IN_CHECKPOINT
        return (config.get_state(),), {}

    def restore_from_path(self, path: str | Path, *args: Any, **kwargs: Any) -> None:
        """Restore what :meth:`save_to_path` wrote.

        Raises:
            ValueError: When the checkpoint was saved with other spaces, networks or trunk.
        """
        _name_moved_modules()
        if kwargs.get("component") is None:
            # Before the buffers, whose features of another stage would have another shape.
            self._experience.check_trunk(saved_fingerprint(path))
            self._rebuild = not self._experience.load(Path(path))
        super().restore_from_path(Path(path).resolve(), *args, **kwargs)

    def _recover_logged_episodes(self, collector_state: dict[str, Any]) -> None:
        """Take in what was logged between the checkpoint and the end of that process.

        Where the checkpoint has no buffers, the episodes logged before fill them, uncounted.
        """
        since = list(self._collector.resume(collector_state))
        if self._rebuild and self.config.episode_log is not None:
            for number in range(self._collector.next_episode):
                path = episode_path(self.config.episode_log, number)
                if number not in since and path.exists():
                    self._experience.add(self._collector.transitions_of(read_episode(path)))
        for number in since:
            path = episode_path(self.config.episode_log, number)
            transitions = self._collector.recover(read_episode(path))
            known = collector_state["open_steps"].get(number, 0)
            if self._rebuild:
                self._experience.add(transitions.part(0, known))
            self._store(transitions.part(known, len(transitions)))
            logger.info("recovered %d steps of %s", len(transitions) - known, path)


def _name_moved_modules() -> None:
    """Let pickles find moved classes under their old names."""
    for old, new in _MOVED_MODULES.items():
        sys.modules.setdefault(old, importlib.import_module(new))
