"""E2HiL as an RLlib algorithm: sample, store, and update as often as steps came in."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
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

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.episodes import episode_path, read_episode
from e2hil_rllib.evaluation import evaluate_policy
from e2hil_rllib.experience import Experience
from e2hil_rllib.limiter import UpdateLimiter
from e2hil_rllib.metrics import outcome_rates
from e2hil_rllib.replay import Batch, HumanInTheLoopReplay
from e2hil_rllib.robot_feed import RobotFeed
from e2hil_rllib.robot_training import RobotTraining
from e2hil_rllib.rollouts import EpisodeCollector
from e2hil_rllib.segments import INTERVENTION, Segment
from e2hil_rllib.selection_log import SelectionLog
from e2hil_rllib.torch_setup import set_up_torch
from e2hil_rllib.vision.trunk import saved_trunk

logger = logging.getLogger(__name__)

#: In place of a folder in a checkpoint's configuration: the buffers hold the demonstrations.
IN_CHECKPOINT = "(in the checkpoint)"

_STATE = "e2hil"


class E2HiL(SAC):
    """Human-in-the-loop SAC whose actor learns from the samples that the selection keeps.

    ``replay.online`` and ``replay.demonstrations`` are the two buffers. A checkpoint holds the
    networks, the optimizers, the temperature, both buffers, the random streams and the counters.
    """

    replay: HumanInTheLoopReplay

    @classmethod
    def get_default_config(cls) -> E2HiLConfig:
        """The configuration with the paper's numbers."""
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
        self._experience = Experience(self.config, observation_space, action_space.shape[0])
        self.replay = self._experience.replay
        self._collector = EpisodeCollector(
            action_space,
            interventions=self.config.interventions,
            episode_log=Path(self.config.episode_log) if self.config.episode_log else None,
            task=str(self.config.env),
            fps=float(self.config.env_config.get("control_hz", 10.0)),
        )
        connector = self.config.connector
        self._limiter = UpdateLimiter(
            self.config.utd_ratio,
            self.config.learning_starts,
            None if connector is None else connector.lowest_update_ratio,
            None if connector is None else connector.highest_update_ratio,
        )
        #: The robots, and training on them; None in simulation.
        self.robots: RobotFeed | None = None
        self.robot_training: RobotTraining | None = None
        if connector is not None:
            self.robots = RobotFeed(self.env_runner_group, self._collector)
            self.robot_training = RobotTraining(
                self.robots, self._limiter, self._store, self._update, self._send_weights
            )
        self._human_steps = 0
        folder, interval = self.config.selection_log, self.config.steps_per_iteration
        self._selection_log = SelectionLog(Path(folder), interval) if folder else None
        if self.config.demonstrations not in (None, IN_CHECKPOINT):
            self._experience.add_demonstrations(Path(self.config.demonstrations), self._collector)

    def _create_local_replay_buffer_if_necessary(self, config: Any) -> None:
        """RLlib's episode buffer is not used; see :attr:`replay`."""

    def training_step(self) -> None:
        """Collect ``steps_per_iteration`` environment steps and the updates that they owe.

        With remote runners the next steps are sampled while the learner works on these. With
        robots, an iteration goes by time.
        """
        if self.robots and self.robot_training:
            self.robot_training.iterate(self.config.connector.seconds_per_iteration)
            self._tell_robots(self.robots)
        else:
            goal = self._limiter.env_steps + self.config.steps_per_iteration
            while self._limiter.env_steps < goal:
                for chunk in self._sample():
                    self._store(self._collector.collect(chunk))
                self._learn()
        self._collect_metrics()
        if self._selection_log is not None:
            self._log_selection(self._selection_log)

    def _tell_robots(self, robots: RobotFeed) -> None:
        robots.tell(
            {
                "env_steps": self._limiter.env_steps,
                "updates": self._limiter.updates,
                "human_steps": self._human_steps,
                "episodes": self._collector.next_episode,
                **outcome_rates(self._collector.outcomes),
            }
        )

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
                log.write(self._limiter.env_steps, samples)

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

    def _store(self, segment: Segment) -> None:
        self._experience.add(segment)
        self._human_steps += int((segment.source == INTERVENTION).sum())
        self._limiter.inserted(len(segment))

    def _learn(self) -> None:
        """Do the updates that the inserted steps owe, then send the weights to the runners."""
        if not self._limiter.owes_update():
            return
        while self._limiter.owes_update():
            self._update()
        self._send_weights()

    def _update(self) -> None:
        """Do one batch of updates."""
        self.learner_group.update(
            batch=self._next_batch(),
            minibatch_size=self.config.train_batch_size_per_learner,
            timesteps={"num_env_steps_sampled_lifetime": self._limiter.env_steps},
            _no_metrics_reduce=True,
        )
        self._limiter.updated()

    def _send_weights(self) -> None:
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group, inference_only=True
        )

    def _next_batch(self) -> MultiAgentBatch:
        """All minibatches of one update: for each learner in turn ``utd_ratio`` of them."""
        num_learners = max(1, self.config.num_learners)
        batch = self.replay.sample(
            self.config.train_batch_size_per_learner, num_learners * self.config.utd_ratio
        )
        if self.learner_group.is_local:
            batch = _to_torch(batch)
        rows = len(batch["rewards"])
        return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=rows)

    def _compile_iteration_results(self, **kwargs: Any) -> dict[str, Any]:
        """RLlib's results, with the algorithm's own counters and rates."""
        results = super()._compile_iteration_results(**kwargs)
        results["num_env_steps_sampled_lifetime"] = self._limiter.env_steps
        results["num_human_steps_lifetime"] = self._human_steps
        results["num_episodes_lifetime"] = self._collector.next_episode
        results["num_updates_lifetime"] = self._limiter.updates
        results["replay"] = {
            "online_size": len(self.replay.online),
            "demonstration_size": len(self.replay.demonstrations),
        }
        results[ENV_RUNNER_RESULTS] = {
            **results.get(ENV_RUNNER_RESULTS, {}),
            **outcome_rates(self._collector.outcomes),
            "num_env_steps_sampled_lifetime": self._limiter.env_steps,
        }
        return results

    def evaluate_episodes(self, num_episodes: int, seed: int) -> Iterator[dict[str, Any]]:
        """Run the deterministic policy without the operator, one seed for each episode.

        Args:
            num_episodes: Episodes to run.
            seed: Of the first episode; the next ones count on from it.

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
        return super().get_state(*args, **kwargs) | {
            _STATE: {
                "limiter": self._limiter.state(),
                "collector": self._collector.state(),
                "human_steps": self._human_steps,
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
    def from_checkpoint(cls, path: Any, *args: Any, **kwargs: Any) -> E2HiL:
        """A new algorithm as it was saved; the weights of a frozen trunk are in the checkpoint."""
        trunk = saved_trunk(path) if isinstance(path, str | Path) else None
        if trunk is not None and "config" not in kwargs:
            file = Path(path) / cls.CLASS_AND_CTOR_ARGS_FILE_NAME
            (state,), _ = pickle.loads(file.read_bytes())["ctor_args_and_kwargs"]
            kwargs["config"] = state | {"trunk_weights": str(trunk.resolve())}
        algorithm: E2HiL = super().from_checkpoint(path, *args, **kwargs)
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
            ValueError: When the checkpoint was saved with other spaces or networks.
        """
        if kwargs.get("component") is None:
            self._experience.load(Path(path))
        super().restore_from_path(Path(path).resolve(), *args, **kwargs)

    def _recover_logged_episodes(self, collector_state: dict[str, Any]) -> None:
        """Take in what was logged between the checkpoint and the end of that process."""
        for number in list(self._collector.resume(collector_state)):
            path = episode_path(self.config.episode_log, number)
            segment = self._collector.recover(read_episode(path))
            known = collector_state["open_steps"].get(number, 0)
            self._store(segment.part(known, len(segment)))
            logger.info("recovered %d steps of %s", len(segment) - known, path)


def _to_torch(batch: Batch) -> Batch:
    """Numpy columns as tensors that share their memory."""
    return {
        name: _to_torch(column) if isinstance(column, dict) else torch.from_numpy(column)
        for name, column in batch.items()
    }


register_trainable("E2HiL", E2HiL)
