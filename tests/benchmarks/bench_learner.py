"""Times of one minibatch with its sampling: E2HiL, a plain torch loop, and RLlib's own SAC.

One thread, batch 256, 2 critics, [256, 256], UTD 2 (one critic-only and one full minibatch),
the 27 numbers of Touch Cube's observation as one vector (RLlib's SAC takes no Dict), and a buffer
of 10 000 steps. E2HiL, the plain loop and SAC have a process each. The candidates take turns of
five updates, so that a noisy machine slows all alike; the ratios of medians are what counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import TD_ERROR_KEY
from ray.rllib.utils.numpy import convert_to_numpy
from ray.rllib.utils.replay_buffers.utils import update_priorities_in_episode_replay_buffer

from e2hil_rllib.algorithm import _to_torch
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.data.replay import HumanInTheLoopReplay, ReplayBuffer
from e2hil_rllib.data.transitions import Transitions
from e2hil_rllib.learning.torch_setup import set_up_torch
from e2hil_rllib.method.selection import SelectionSettings
from e2hil_rllib.settings.build import ray_session
from e2hil_rllib.settings.run_settings import Settings
from tests.benchmarks.plain_loop import PlainLearner, PlainRing

SIZES = {"state": 27}
ACTION_SIZE = 4
BATCH = 256
STEPS = 10_000
UPDATES_PER_TURN = 5
INTERVAL = SelectionSettings().diagnostics_interval


class FixedEnv(gym.Env):
    """Random observations of Touch Cube's size; only its spaces matter here."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-10, 10, (SIZES["state"],), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (ACTION_SIZE,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        self.t += 1
        return self.observation_space.sample(), 0.0, False, self.t >= 100, {}


gym.register("E2HiLBench-v0", FixedEnv)


def filled_replay(n_step: int = 1) -> HumanInTheLoopReplay:
    generator = np.random.default_rng(0)
    buffers = [
        ReplayBuffer(n, {k: (s,) for k, s in SIZES.items()},
                     {k: np.dtype(np.float32) for k in SIZES}, ACTION_SIZE,
                     gamma=0.97, n_step=n_step)
        for n in (STEPS, STEPS)
    ]  # fmt: skip
    replay = HumanInTheLoopReplay(*buffers, demonstration_fraction=0.5, seed=0)
    for episode in range(STEPS // 100):
        segment = Transitions(
            episode,
            0,
            {k: generator.uniform(-10, 10, (101, n)).astype(np.float32) for k, n in SIZES.items()},
            generator.uniform(-1, 1, (100, ACTION_SIZE)).astype(np.float32),
            (generator.uniform(size=100) > 0.99).astype(np.float32),
            np.zeros(100, bool),
            np.zeros(100, np.uint8),
        )
        replay.online.add(segment)
        replay.add_demonstration(segment)
    return replay


def e2hil_update(enabled: bool, interval: int = INTERVAL) -> Callable[[], None]:
    """The update that the algorithm does for one environment step: sampling and two minibatches.

    Every `interval`-th is judged for the log: statistics by source, a row for each sample, and what
    the update did to the entropy. By default that is so rare that a median is of the others.
    """
    config = (
        E2HiLConfig()
        .preset("e2hil_paper")
        .environment("E2HiLBench-v0")
        .entropy_selection(enabled=enabled, diagnostics_interval=interval)
        .human_in_the_loop(interventions=False, demonstration_fraction=0)
    )
    return update_from(config.build_learner_group(env=FixedEnv()), filled_replay())


def imitating_update() -> Callable[[], None]:
    """The same without selection, with imitation of the half that is human and 3-step targets."""
    config = (
        E2HiLConfig()
        .preset("default")
        .environment("E2HiLBench-v0")
        .entropy_selection(enabled=False)
        .human_in_the_loop(interventions=False, demonstration_fraction=0)
        .imitation(q_filter_starts=0)
        .training(n_step=3, monte_carlo_floor=True)
    )
    return update_from(config.build_learner_group(env=FixedEnv()), filled_replay(n_step=3))


def update_from(group: LearnerGroup, replay: HumanInTheLoopReplay) -> Callable[[], None]:
    """Sampling and two minibatches, as the algorithm does them for one environment step."""

    def update() -> None:
        batch = SampleBatch(_to_torch(replay.sample(BATCH, 2)))
        group.update(
            batch=MultiAgentBatch({"default_policy": batch}, 2 * BATCH),
            minibatch_size=BATCH,
            timesteps={},
            _no_metrics_reduce=True,
        )

    return update


def plain_update(select: bool) -> Callable[[], None]:
    """The same two minibatches in the plain loop."""
    ring = PlainRing(2 * STEPS, SIZES, ACTION_SIZE, seed=0)
    learner = PlainLearner(SIZES, ACTION_SIZE, select=select)

    def update() -> None:
        learner.update(ring.sample(BATCH), full=False)
        learner.update(ring.sample(BATCH), full=True)

    return update


def stock_update() -> Callable[[], None]:
    """Two updates as RLlib's SAC does them: sample its episode buffer, learn, set priorities."""
    config = (
        SACConfig()
        .environment("E2HiLBench-v0")
        .training(
            train_batch_size_per_learner=BATCH,
            num_steps_sampled_before_learning_starts=10**9,
        )
        .env_runners(num_env_runners=0, rollout_fragment_length=1000)
    )
    algo = config.build_algo()
    while algo.local_replay_buffer.get_num_timesteps() < STEPS // 2:
        algo.local_replay_buffer.add(algo.env_runner_group.local_env_runner.sample())

    def update() -> None:
        for _ in range(2):
            episodes = algo.local_replay_buffer.sample(
                num_items=BATCH, n_step=1, gamma=0.97, beta=0.4, sample_episodes=True
            )
            (result,) = algo.learner_group.update(episodes=episodes, timesteps={})
            errors = np.concatenate(
                convert_to_numpy(result["default_policy"].pop(TD_ERROR_KEY).peek())
            )
            update_priorities_in_episode_replay_buffer(
                replay_buffer=algo.local_replay_buffer,
                td_errors={"default_policy": {TD_ERROR_KEY: errors}},
            )

    return update


#: What runs in one process each. Only E2HiL's sets its process up as its learner does.
CANDIDATES: dict[str, dict[str, Callable[[], Callable[[], None]]]] = {
    "E2HiL": {
        "off": lambda: e2hil_update(False),
        "on": lambda: e2hil_update(True),
        "imitating": imitating_update,
        "off, judged": lambda: e2hil_update(False, 1),
        "on, judged": lambda: e2hil_update(True, 1),
    },
    "plain": {"off": lambda: plain_update(False), "on": lambda: plain_update(True)},
    "stock": {"": stock_update},
}


def serve(process: str, connection: Connection) -> None:
    """Build the candidates of a process, then time a turn of the one that is asked for."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if process == "E2HiL":
        set_up_torch(1)
    with ray_session(Settings.model_validate({"task": "Pendulum-v1", "stop": {"steps": 1}})):
        updates = {name: build() for name, build in CANDIDATES[process].items()}
        connection.send("ready")
        while name := connection.recv():
            connection.send(timed(updates[name.removeprefix(process).strip()]))


def timed(update: Callable[[], None]) -> list[float]:
    """Seconds of each of the updates of one turn."""
    times = []
    for _ in range(UPDATES_PER_TURN):
        start = time.perf_counter()
        update()
        times.append(time.perf_counter() - start)
    return times


def median_times(rounds: int, warmup: int = 2) -> dict[str, float]:
    """Median seconds of an update of each candidate; they take turns within every round."""
    context = get_context("spawn")
    processes, asked = [], {}
    for process, candidates in CANDIDATES.items():
        here, there = context.Pipe()
        processes.append(context.Process(target=serve, args=(process, there), daemon=True))
        processes[-1].start()
        assert here.recv() == "ready"
        asked |= {f"{process} {name}".strip(): here for name in candidates}
    times: dict[str, list[float]] = {name: [] for name in asked}
    for turn in range(warmup + rounds):
        for name, connection in asked.items():
            if name == "stock" and turn % 3:
                continue  # it is slow, and its median needs no more
            connection.send(name)
            seconds = connection.recv()
            if turn >= warmup:
                times[name] += seconds
    for connection in set(asked.values()):
        connection.send("")
    for child in processes:
        child.join(timeout=60)
    return {name: median(values) for name, values in times.items()}


def sampling_time(draws: int = 500) -> float:
    """Median seconds of drawing one minibatch."""
    replay = filled_replay()
    times = []
    for _ in range(draws):
        start = time.perf_counter()
        replay.sample(BATCH, 1)
        times.append(time.perf_counter() - start)
    return median(times)


def main(rounds: int = 30) -> dict[str, float]:
    """Print the times per minibatch and the ratios; returns the ratios."""
    times = median_times(rounds)
    for name, seconds in times.items():
        print(f"{name:18s} {seconds / 2 * 1e3:7.2f} ms per minibatch")
    ratios = {
        "(a) stock / E2HiL, selection off": times["stock"] / times["E2HiL off"],
        "(a) stock / E2HiL, selection on": times["stock"] / times["E2HiL on"],
        "(b) plain / E2HiL, selection off": times["plain off"] / times["E2HiL off"],
        "(b) plain / E2HiL, selection on": times["plain on"] / times["E2HiL on"],
        "(c) selection on / off": times["E2HiL on"] / times["E2HiL off"],
        "(f) imitation and 3 steps / neither": times["E2HiL imitating"] / times["E2HiL off"],
    }
    for name, ratio in ratios.items():
        print(f"{name:34s} {ratio:6.2f}")
    for name in ("off", "on"):
        judged = times[f"E2HiL {name}, judged"] / times[f"E2HiL {name}"]
        share = 100 * (judged - 1) / INTERVAL
        print(
            f"(e) log, one update in {INTERVAL} judged, selection {name}: {share:.2f} % of the time"
        )
    print(f"(d) replay sampling of {BATCH}: {sampling_time() * 1e3:.3f} ms")
    return ratios


if __name__ == "__main__":
    main()
