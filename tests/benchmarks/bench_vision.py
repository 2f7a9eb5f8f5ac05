"""Times of one minibatch from two cameras: frozen trunks, the trainable CNN, and acting.

One thread, batch 256, two 128x128 cameras, 2 critics, [256, 256], UTD 2, sampling from a buffer of
1 000 steps included. All candidates live in one process and take turns; times of minibatches are
CPU times, ratios of their medians are what counts. The latency of acting is by the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.data.replay import HumanInTheLoopReplay, ReplayBuffer
from e2hil_rllib.data.transitions import Transitions
from e2hil_rllib.learning.torch_setup import set_up_torch
from e2hil_rllib.networks.camera_encoders import ConvolutionalEncoder
from e2hil_rllib.networks.frozen_trunk import FrozenTrunk, shared_trunk
from e2hil_rllib.networks.observation_encoder import stored_spaces
from e2hil_rllib.networks.trunk_stage import TrunkStage
from e2hil_rllib.settings.build import ray_session
from e2hil_rllib.settings.run_settings import Settings
from tests.benchmarks.bench_learner import BATCH, update_from

STEPS = 1_000
FRAME = (128, 128, 3)
CAMERAS = ("front", "wrist")
TRUNK = "seed:0"
# What configs/*_images.yaml choose; drawn weights take as long as those of the package.
LITE = {"trunk": "efficientnet_lite0", "stride": 8, "head": "keypoints"}


class TwoCameras(gym.Env):
    """Only its spaces matter: the arm's state, and two cameras or none."""

    def __init__(self, cameras: bool = True) -> None:
        spaces: dict[str, gym.Space] = {"state": gym.spaces.Box(-1, 1, (21,), np.float32)}
        if cameras:
            spaces |= {name: gym.spaces.Box(0, 255, FRAME, np.uint8) for name in CAMERAS}
        self.observation_space = gym.spaces.Dict(spaces)
        self.action_space = gym.spaces.Box(-1, 1, (4,), np.float32)


gym.register("E2HiLTwoCameras-v0", TwoCameras)


def make_config(encoder: str | None, enabled: bool, **vision: Any) -> E2HiLConfig:
    """The default learner; without an encoder, it learns from the state alone."""
    config = (
        E2HiLConfig()
        .environment("E2HiLTwoCameras-v0", env_config={"cameras": encoder is not None})
        .entropy_selection(enabled=enabled)
        .vision(encoder=encoder or "cnn", trunk_weights=TRUNK, **vision)
        .debugging(seed=0)
    )
    return config


def filled_replay(config: E2HiLConfig) -> HumanInTheLoopReplay:
    """Both buffers full of random steps, as the configuration stores them."""
    generator = np.random.default_rng(0)
    spaces = stored_spaces(
        TwoCameras(**config.env_config).observation_space, config.vision_settings
    )
    shapes, dtypes = ({key: value[i] for key, value in spaces.items()} for i in (0, 1))
    buffers = [ReplayBuffer(STEPS, shapes, dtypes, 4, gamma=0.97) for _ in range(2)]
    replay = HumanInTheLoopReplay(*buffers, demonstration_fraction=0.5, seed=0)
    for episode in range(STEPS // 100):
        segment = Transitions(
            episode,
            0,
            {
                key: generator.integers(0, 256, (101, *shape), np.uint8)
                if dtypes[key] == np.uint8
                else generator.random((101, *shape), np.float32).astype(dtypes[key])
                for key, shape in shapes.items()
            },
            generator.uniform(-1, 1, (100, 4)).astype(np.float32),
            (generator.uniform(size=100) > 0.99).astype(np.float32),
            np.zeros(100, bool),
            np.zeros(100, np.uint8),
        )
        replay.online.add(segment)
        replay.demonstrations.add(segment)
    return replay


def update_of(encoder: str | None, enabled: bool, **vision: Any) -> Callable[[], None]:
    """What the algorithm does for one environment step: sampling and two minibatches."""
    config = make_config(encoder, enabled, **vision)
    group = config.build_learner_group(env=TwoCameras(**config.env_config))
    return update_from(group, filled_replay(config))


def random_frames(number: int) -> np.ndarray:
    return np.random.default_rng().integers(0, 256, (number, *FRAME), np.uint8)


def encoding_through_the_trunk() -> Callable[[], None]:
    """Frames and next frames of both cameras of one minibatch, as nobody remembers them."""
    trunk = FrozenTrunk(shared_trunk(TRUNK, TrunkStage()).weights, TrunkStage(), remembered=0)
    frames = random_frames(BATCH)

    def encode() -> None:
        for _ in range(2 * len(CAMERAS)):
            trunk.features(frames)

    return encode


def bare_cnn() -> Callable[[], None]:
    """The passes that one minibatch cannot do without, and nothing else.

    Forward and backward for the state, forward for the next state with the online and with the
    target encoder, each for two cameras.
    """
    encoders = [ConvolutionalEncoder(FRAME, 256) for _ in CAMERAS]
    frames = torch.from_numpy(random_frames(BATCH))

    def passes() -> None:
        for encoder in encoders:
            encoder(frames).sum().backward()
            with torch.no_grad():
                encoder(frames)
                encoder(frames)

    return passes


def timed(work: Callable[[], None]) -> float:
    start = time.process_time()  # one thread: other processes do not count
    work()
    return time.process_time() - start


def median_times(candidates: dict[str, tuple[int, Callable[[], None]]], rounds: int) -> dict:
    """Median seconds of each candidate, which come by turns; slow ones only in every n-th round."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(-1, rounds):
        for name, (every, work) in candidates.items():
            if turn < 0:
                work()
            elif turn % every == 0:
                times[name].append(timed(work))
    return {name: median(values) for name, values in times.items()}


def acting_latencies(pairs: int = 300, **vision: Any) -> np.ndarray:
    """Seconds of acting on new frames of two cameras: shape (pairs,)."""
    config = make_config("frozen", enabled=True, **vision)
    module = config.build_learner_group(env=TwoCameras())._learner.module["default_policy"]
    latencies = []
    for _ in range(pairs):
        batch: dict[str, Any] = {name: torch.from_numpy(random_frames(1)) for name in CAMERAS}
        batch["state"] = torch.zeros(1, 21)
        start = time.perf_counter()
        module.forward_inference({Columns.OBS: batch})
        latencies.append(time.perf_counter() - start)
    return np.array(latencies[10:])


def main(rounds: int = 15) -> dict[str, float]:
    """Print the times per minibatch and the ratios; returns the ratios."""
    set_up_torch(1)
    with ray_session(Settings.model_validate({"task": "Pendulum-v1", "stop": {"steps": 1}})):
        times = median_times(
            {
                "state only": (1, update_of(None, enabled=False)),
                "frozen trunk, off": (1, update_of("frozen", enabled=False)),
                "frozen trunk, on": (1, update_of("frozen", enabled=True)),
                "frozen Lite0, keypoints": (1, update_of("frozen", enabled=False, **LITE)),
                "encoding through the trunk": (5, encoding_through_the_trunk()),
                "CNN, off": (5, update_of("cnn", enabled=False)),
                "CNN, on": (5, update_of("cnn", enabled=True)),
                "CNN, bare passes": (5, bare_cnn()),
            },
            rounds,
        )
        latencies = {
            "ResNet-10-T": 1e3 * acting_latencies(),
            "Lite0 at stride 8 (<= 10)": 1e3 * acting_latencies(**LITE),
        }
    for name in times:
        if name not in ("encoding through the trunk", "CNN, bare passes"):
            times[name] /= 2  # an update has two minibatches
        print(f"{name:28s} {times[name] * 1e3:8.1f} ms per minibatch")
    cached = times["frozen trunk, off"]
    ratios = {
        "frozen trunk / state only (to show: <= 16)": cached / times["state only"],
        "encoding each time / cached (>= 20)": 1 + times["encoding through the trunk"] / cached,
        "CNN / its bare passes (<= 1.3)": times["CNN, off"] / times["CNN, bare passes"],
        "selection on / off, frozen trunk (<= 1.2)": times["frozen trunk, on"] / cached,
        "selection on / off, CNN (<= 1.2)": times["CNN, on"] / times["CNN, off"],
    }
    for name, ratio in ratios.items():
        print(f"{name:44s} {ratio:6.2f}")
    for name, taken in latencies.items():
        p50, p99 = np.percentile(taken, [50, 99])
        print(f"acting on a new pair of frames, {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    return ratios


if __name__ == "__main__":
    main()
