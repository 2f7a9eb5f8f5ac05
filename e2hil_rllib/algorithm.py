"""E2HiL as an RLlib algorithm: sample, store, and update as often as steps came in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from ray.rllib.algorithms.sac import SAC
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, LEARNER_RESULTS
from ray.tune.registry import register_trainable

from e2hil_rllib.checkpointing import (
    CLASS_AND_ARGUMENTS,
    IN_CHECKPOINT,
    TrainingState,
    config_for_checkpoint,
    name_moved_modules,
    saved_algorithm,
)
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.data.collector import EpisodeCollector
from e2hil_rllib.data.experience import Experience
from e2hil_rllib.data.outcomes import outcome_rates
from e2hil_rllib.data.replay import Batch, HumanInTheLoopReplay
from e2hil_rllib.evaluation import evaluate_policy
from e2hil_rllib.external.learner.robot_feed import RobotFeed
from e2hil_rllib.learning.torch_setup import set_up_torch
from e2hil_rllib.learning.update_limiter import UpdateLimiter
from e2hil_rllib.networks.frozen_trunk import saved_fingerprint
from e2hil_rllib.robot_training import RobotTraining
from e2hil_rllib.run.selection_log import SelectionLog

logger = logging.getLogger(__name__)

_STATE = "e2hil"
"""Key of the training state in the state of RLlib's algorithm."""


class E2HiL(SAC):
    """Human-in-the-loop SAC whose actor imitates people and learns from selected samples."""

    @property
    def replay(self) -> HumanInTheLoopReplay:
        """Both buffers, ``online`` and ``demonstrations``."""
        return self.state.replay

    @classmethod
    def get_default_config(cls) -> E2HiLConfig:
        """The configuration with the preset ``default``."""
        return E2HiLConfig(algo_class=cls)

    def setup(self, config: Any) -> None:
        """Build runners, learners and replay, and read the demonstrations.

        Raises:
            ValueError: On settings or demonstrations that do not fit the environment.
            DamagedEpisodeError: On a damaged demonstration, unless damaged ones are skipped.
        """
        super().setup(config)
        set_up_torch(self.config.torch_threads)
        observation_space, action_space = self.env_runner_group.get_spaces()[
            INPUT_ENV_SINGLE_SPACES
        ]
        bounds = self._return_bounds()
        self.learner_group.foreach_learner(lambda learner: learner.bound_returns(*bounds))
        connector = self.config.connector
        #: All that a checkpoint holds besides RLlib's own state.
        self.state = TrainingState(
            Experience(self.config, observation_space, action_space.shape[0], bounds),
            EpisodeCollector(
                action_space,
                interventions=self.config.interventions,
                episode_log=Path(self.config.episode_log) if self.config.episode_log else None,
                task=str(self.config.env),
                fps=float(self.config.env_config.get("control_hz", 10.0)),
            ),
            UpdateLimiter(
                self.config.utd_ratio,
                self.config.learning_starts,
                None if connector is None else connector.lowest_update_ratio,
                None if connector is None else connector.highest_update_ratio,
            ),
            warm_started=not self.config.demonstrations,  # nothing to start from
        )
        #: The robots, and training on them; None in simulation.
        self.robots: RobotFeed | None = None
        self.robot_training: RobotTraining | None = None
        if connector is not None:
            self.robots = RobotFeed(self.env_runner_group, self.state.collector)
            self.robot_training = RobotTraining(
                self.robots, self.state, self.update, self.publish_policy,
                connector.policy_interval,
            )  # fmt: skip
        folder, interval = self.config.selection_log, self.config.steps_per_iteration
        self._selection_log = SelectionLog(Path(folder), interval) if folder else None
        if self.config.demonstrations not in (None, IN_CHECKPOINT):
            self.state.experience.add_demonstrations(
                Path(self.config.demonstrations), self.state.collector
            )

    def _create_local_replay_buffer_if_necessary(self, config: Any) -> None:
        """RLlib's episode buffer is not used; see :attr:`replay`."""

    def _return_bounds(self) -> tuple[float | None, float | None]:
        """The bounds of returns, "auto" being what the environments say."""
        group = self.env_runner_group
        told = group.foreach_env_runner(
            lambda runner: getattr(runner, "return_bounds", None),
            local_env_runner=group.num_remote_env_runners() == 0,
        )
        bounds: tuple[float | None, float | None] = self.config.return_bounds(
            next((bounds for bounds in told if bounds is not None), (None, None))
        )
        return bounds

    def warm_start(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Learn from the demonstrations before the first step, ``warm_start_updates`` minibatches.

        The actor imitates them, and the critics learn their returns. It is done once in a run, by
        the first :meth:`training_step` where nobody has called it before.

        Args:
            progress: Called with the minibatches done and those to do.

        Returns:
            Minibatches that were learned; 0 where it was done before, or there is nothing to do.
        """
        wanted = self.config.warm_start_updates
        if self.state.warm_started or not wanted:
            return 0
        learners, size = self.learner_group, self.config.train_batch_size_per_learner
        num_learners = max(1, self.config.num_learners)
        if self.robots:
            self.robots.tell({"warm_start": True})
        learners.foreach_learner(lambda learner: learner.begin_warm_start())
        for done in range(wanted):
            batch = self.replay.sample_demonstrations(num_learners * size)
            learners.update(
                batch=self._as_batch(batch), minibatch_size=size,
                timesteps={"num_env_steps_sampled_lifetime": 0}, _no_metrics_reduce=True,
            )  # fmt: skip
            if progress is not None:
                progress(done + 1, wanted)
        learners.foreach_learner(lambda learner: learner.end_warm_start())
        self.state.warm_started = True
        if self.robots:
            self.publish_policy()
        else:
            self._send_weights()
        return wanted

    def training_step(self) -> None:
        """Collect ``steps_per_iteration`` environment steps and the updates that they owe.

        With remote runners the next steps are sampled while the learner works on these. With
        robots, an iteration goes by time.
        """
        self.warm_start()
        if self.robots and self.robot_training:
            self.robot_training.iterate(self.config.connector.seconds_per_iteration)
            self.robots.tell(self.state.progress())
        else:
            goal = self.state.limiter.env_steps + self.config.steps_per_iteration
            while self.state.limiter.env_steps < goal:
                for chunk in self._sample():
                    self.state.store(self.state.collector.collect(chunk))
                self._learn()
        self._collect_metrics()
        if self._selection_log is not None:
            self._log_selection(self._selection_log)

    def _collect_metrics(self) -> None:
        group = self.env_runner_group
        local = group.num_remote_env_runners() == 0
        runner_metrics = group.foreach_env_runner(
            lambda runner: runner.get_metrics(), local_env_runner=local
        )
        self.metrics.aggregate(runner_metrics, key=ENV_RUNNER_RESULTS)
        learner_metrics = self.learner_group.foreach_learner(
            lambda learner: learner.flush_metrics()
        )
        self.metrics.aggregate([result.get() for result in learner_metrics], key=LEARNER_RESULTS)

    def _log_selection(self, log: SelectionLog) -> None:
        """Write how the first learner's newest diagnosed minibatch was judged, if there is one."""
        results = self.learner_group.foreach_learner(
            lambda learner: learner.flush_samples(), remote_actor_ids=[0]
        )
        for result in results:
            if (samples := result.get()) is not None:
                log.write(self.state.limiter.env_steps, samples)

    def _sample(self) -> Iterator[SingleAgentEpisode]:
        """Chunks that are ready; remote runners are asked for their next ones before returning."""
        group = self.env_runner_group
        if group.num_remote_env_runners() == 0:
            yield from group.local_env_runner.sample()
            return
        group.foreach_env_runner_async("sample", tag="sample")
        ready = group.fetch_ready_async_reqs(tags="sample", timeout_seconds=0.05)
        group.foreach_env_runner_async("sample", tag="sample")
        for _, chunks in ready:
            yield from chunks

    def _learn(self) -> None:
        """Do the updates that the inserted steps owe, then send the weights to the runners."""
        if not self.state.limiter.owes_update():
            return
        while self.state.limiter.owes_update():
            self.update()
        self._send_weights()

    def update(self) -> None:
        """Do one batch of updates."""
        self.learner_group.update(
            batch=self._next_batch(),
            minibatch_size=self.config.train_batch_size_per_learner,
            timesteps={"num_env_steps_sampled_lifetime": self.state.limiter.env_steps},
            _no_metrics_reduce=True,
        )
        self.state.limiter.updated()

    def _send_weights(self) -> None:
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group, inference_only=True
        )

    def publish_policy(self) -> None:
        """Give robots the newest policy."""
        assert self.robots
        self._send_weights()
        self.robots.publish()

    def _next_batch(self) -> MultiAgentBatch:
        """All minibatches of one update: for each learner in turn ``utd_ratio`` of them."""
        num_learners = max(1, self.config.num_learners)
        batch = self.replay.sample(
            self.config.train_batch_size_per_learner, num_learners * self.config.utd_ratio
        )
        return self._as_batch(batch)

    def _as_batch(self, batch: Batch) -> MultiAgentBatch:
        """RLlib's view of a batch."""
        if self.learner_group.is_local:
            batch = _to_torch(batch)
        rows = len(batch["rewards"])
        return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=rows)

    def _compile_iteration_results(self, **kwargs: Any) -> dict[str, Any]:
        """RLlib's results, with the algorithm's own counters and rates."""
        results = super()._compile_iteration_results(**kwargs)
        results["num_env_steps_sampled_lifetime"] = self.state.limiter.env_steps
        results["num_human_steps_lifetime"] = self.state.human_steps
        results["num_takeovers_lifetime"] = self.state.takeovers
        results["num_episodes_lifetime"] = self.state.collector.next_episode
        results["num_updates_lifetime"] = self.state.limiter.updates
        results["replay"] = {
            "online_size": len(self.replay.online),
            "demonstration_size": len(self.replay.demonstrations),
        }
        results[ENV_RUNNER_RESULTS] = {
            **results.get(ENV_RUNNER_RESULTS, {}),
            **outcome_rates(self.state.collector.outcomes),
            "num_env_steps_sampled_lifetime": self.state.limiter.env_steps,
        }
        return results

    def evaluate_episodes(self, num_episodes: int, seed: int) -> Iterator[dict[str, Any]]:
        """Run the deterministic policy without the operator, one seed for each episode.

        Args:
            num_episodes: Episodes to run.
            seed: Seed of the first episode; later episodes count up from it.

        Yields:
            For each episode ``seed``, ``success`` (None where the environment does not say),
            ``task_succeed`` (the simulator's truth where a classifier judges, else None),
            ``steps``, ``return`` and ``info``, the scalars of the first reset's info.
        """
        state = self.learner_group.get_state(
            components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=True
        )[COMPONENT_LEARNER]
        config = self.config.get_evaluation_config_object()
        yield from evaluate_policy(config, state, num_episodes, seed)

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """State of RLlib's algorithm, and counters and random streams of this one."""
        return super().get_state(*args, **kwargs) | {_STATE: self.state.state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`get_state` returned.

        Raises:
            ValueError: It was trained on the features of another frozen trunk.
        """
        self.state.experience.check_trunk(state.get(_STATE, {}).get("trunk"))
        super().set_state(state)
        if own := state.get(_STATE):
            self.state.set_state(own)
            if self._selection_log is not None:
                self._selection_log.go_on_from(own["limiter"]["env_steps"])
            seed = (self.config.seed or 0, self.state.limiter.env_steps)
            self.env_runner_group.foreach_env_runner(lambda runner: runner.restart(*seed))

    def save_to_path(self, path: str | Path | None = None, **kwargs: Any) -> str:
        """Save everything below a folder, sharing old frames with the checkpoints beside it."""
        if path is not None:
            path = Path(path).resolve()  # RLlib takes a relative path for a URI
        saved = Path(super().save_to_path(path, **kwargs))
        others = [o for o in saved.parent.iterdir() if o != saved and o.is_dir()]
        self.state.save(saved, others)
        return str(saved)

    def restore_from_path(self, path: str | Path, *args: Any, **kwargs: Any) -> None:
        """Restore what :meth:`save_to_path` wrote.

        Raises:
            ValueError: The checkpoint was saved with other spaces, networks or trunk.
        """
        name_moved_modules()
        if kwargs.get("component") is None:
            # Before the buffers, whose features of another stage would have another shape.
            self.state.experience.check_trunk(saved_fingerprint(path))
            self.state.load(Path(path))
        super().restore_from_path(Path(path).resolve(), *args, **kwargs)

    @classmethod
    def from_checkpoint(cls, path: Any, *args: Any, **kwargs: Any) -> E2HiL:
        """A new algorithm as it was saved; the weights of a frozen trunk are in the checkpoint."""
        name_moved_modules()
        if not isinstance(path, str | Path) or not (Path(path) / CLASS_AND_ARGUMENTS).exists():
            remote: E2HiL = super().from_checkpoint(path, *args, **kwargs)
            return remote
        saved_class, config = saved_algorithm(Path(path))
        algorithm: E2HiL = saved_class(config)
        algorithm.restore_from_path(path, *args, **kwargs)
        return algorithm

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments that a checkpoint builds the algorithm from."""
        return (config_for_checkpoint(self.config),), {}


def _to_torch(batch: Batch) -> Batch:
    """Numpy columns as tensors that share their memory."""
    return {
        name: _to_torch(column) if isinstance(column, dict) else torch.from_numpy(column)
        for name, column in batch.items()
    }


register_trainable("E2HiL", E2HiL)
