"""The EnvRunner of E2HiL: RLlib's, with the success and intervention metrics of the method."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.metrics import ENV_STEP_TIMER

from e2hil_rllib.data.outcomes import WINDOW, episode_outcome, outcome_rates
from e2hil_rllib.learning.torch_setup import set_up_torch


class E2HiLEnvRunner(SingleAgentEnvRunner):
    """Steps environments with the policy and measures evaluation episodes."""

    def __init__(self, **kwargs: Any):
        set_up_torch(kwargs["config"].torch_threads)
        super().__init__(**kwargs)

    def make_env(self) -> None:
        """Make the environments, judged by the success classifier where there is one."""
        super().make_env()
        judge = self.config.judge
        if judge is not None:
            vector = self.env.unwrapped
            vector.envs = tuple(judge.wrap(env) for env in vector.envs)

    @property
    def return_bounds(self) -> tuple[float, float] | None:
        """Least and most that an episode can return, where the environment says so."""
        envs = getattr(self.env.unwrapped, "envs", ()) if self.env is not None else ()
        return getattr(envs[0].unwrapped, "return_bounds", None) if envs else None

    def apply(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function with this runner; its error reaches the algorithm.

        RLlib's own would end the process, so that the algorithm could only say that it died.
        """
        return func(self, *args, **kwargs)

    def _try_env_step(self, actions: Any) -> Any:
        """Step the environments; an error in them stops the run as what it is."""
        with self.metrics.log_time(ENV_STEP_TIMER):
            return self.env.step(actions)

    def get_metrics(self) -> dict[str, Any]:
        """RLlib's metrics and, in evaluation, the rates of the method.

        In training the algorithm counts them, from the very steps that it stores.
        """
        for episode in self._done_episodes_for_metrics if self.config.in_evaluation else ():
            chunks = [*self._ongoing_episodes_for_metrics.get(episode.id_, []), episode]
            # The first info of a chunk belongs to the step before it, or to the reset.
            infos = (info for chunk in chunks for info in chunk.get_infos()[1:])
            outcome = episode_outcome(infos, sum(chunk.get_return() for chunk in chunks))
            for name, value in outcome_rates([outcome]).items():
                if name.endswith("_rate") and not math.isnan(value):
                    self.metrics.log_value(name, value, reduce="mean", window=WINDOW)
        return super().get_metrics()

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
