"""The EnvRunner of E2HiL: RLlib's, with the success and intervention metrics of the method."""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics import ENV_STEP_TIMER

from e2hil_rllib.metrics import episode_outcome
from e2hil_rllib.torch_setup import set_up_torch

#: Episodes over which rates are averaged.
WINDOW = 100


class E2HiLEnvRunner(SingleAgentEnvRunner):
    """Steps environments with the policy and logs the outcome of each finished episode."""

    def __init__(self, **kwargs: Any):
        set_up_torch(kwargs["config"].torch_threads)
        super().__init__(**kwargs)

    def _try_env_step(self, actions: Any) -> Any:
        """Step the environments; an error in them stops the run as what it is."""
        with self.metrics.log_time(ENV_STEP_TIMER):
            return self.env.step(actions)

    def get_metrics(self) -> dict[str, Any]:
        """RLlib's metrics, and the outcomes of the episodes that ended since the last call."""
        for episode in self._done_episodes_for_metrics:
            earlier = self._ongoing_episodes_for_metrics.get(episode.id_, [])
            self._log_outcome([*earlier, episode])
        return super().get_metrics()

    def _log_outcome(self, chunks: list[SingleAgentEpisode]) -> None:
        # The first info of a chunk belongs to the step before it, or to the reset.
        outcome = episode_outcome(info for chunk in chunks for info in chunk.get_infos()[1:])
        values = {"human_steps_mean": outcome.human_steps, "episode_steps_mean": outcome.num_steps}
        if outcome.success is not None:
            values["success_rate"] = outcome.success
            values["autonomous_success_rate"] = bool(outcome.autonomous_success)
        for name, value in values.items():
            self.metrics.log_value(name, float(value), reduce="mean", window=WINDOW)

    def restart(self, *seeds: int) -> None:
        """Begin anew with environments and exploration seeded by all of ``seeds``.

        After a resume the lifetime steps are among them, so that starts do not repeat.
        """
        words = np.random.SeedSequence([*seeds, self.worker_index or 0]).generate_state(2)
        self._seed = int(words[0])
        self.module.seed_exploration(int(words[1]))
        self._needs_initial_reset = True

    def seed_next_reset(self, seed: int) -> None:
        """Let the next episode start from this very seed."""
        self._seed = seed
        self._needs_initial_reset = True
