"""How exactly the policy sees a cube, in mm: each trunk, stage, head and view of the front camera.

`python -m tests.benchmarks.run localization`. Frames of Pick Cube show a cube and the arm at random
poses: anywhere over the table, and with the gripper near the cube (at most 60 mm aside and 80 mm
above the table). The policy's own encoder of two cameras and the arm's state, and two hidden
layers, learn the cube's place from the TCP; all alike, on both kinds of poses together. The error
is that of poses that they have not seen, along the table. A pair of frames passes the trunks by
turns, and one thread's CPU time counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from statistics import median

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from e2hil_rllib.learning.torch_setup import set_up_torch
from e2hil_rllib.networks.frozen_trunk import FrozenTrunk
from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.observation_encoder import ObservationEncoder
from e2hil_rllib.networks.trunk_weights import TrunkWeightsError, load_trunk_weights
from e2hil_rllib.networks.vision_settings import VisionSettings
from e2hil_rllib.settings.build import quiet_ray
from envs.kinematics import Kinematics
from envs.tasks.base import random_yaw
from envs.views import CameraView

TRAINING, TEST = 2_000, 400  # frames of each kind of poses
STEPS, BATCH, RATE = 1_200, 64, 3e-3
NEAR = 0.06  # [m] aside
LOW = 0.08  # [m] above the table
RAW = 256  # [pixels]
VIEWS = {
    "all": CameraView.from_options("front", {"resolution": RAW}),
    "workspace": CameraView.from_options(
        "front",
        {"resolution": RAW, "crop": {"left": 16, "top": 68, "width": 224, "height": 168}},
    ),
}
TRUNKS = (
    ("resnet10t", "seed:0", 32), ("efficientnet_lite0", "package", 8),
    ("efficientnet_lite0", "package", 16), ("efficientnet_lite0", "package", 32),
    ("resnet10t", "seed:0", 8), ("resnet10t", "seed:0", 16), ("efficientnet_lite0", "seed:0", 8),
)  # fmt: skip
HEADS = ("spatial", "keypoints")

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Poses:
    """What was seen: the front's frames by view, the wrist's, the state, and the cube from the TCP.

    Frames are (N, 128, 128, 3), uint8; ``places`` are (N, 2) along the table [m]; ``near`` says
    which were drawn with the gripper near the cube.
    """

    front: dict[str, NDArray[np.uint8]]
    wrist: NDArray[np.uint8]
    state: Array
    places: Array
    near: NDArray[np.bool_]


def rendered(number: int, seed: int) -> tuple[Poses, gym.spaces.Dict]:
    """So many poses of each kind, and the space of what is observed."""
    cameras = {"front": {"resolution": RAW, "size": RAW}, "wrist": None}
    env = gym.make("envs:SO101PickCube-v0", cameras=cameras).unwrapped
    env.reset(seed=seed)
    scene, kinematics, rng = env.task.scene, Kinematics(), np.random.default_rng(seed)
    low, high = env.workspace.low, env.workspace.high
    front, wrist, state, places = [], [], [], []
    near = np.arange(2 * number) % 2 == 1
    for is_near in near:
        cube = env.task.random_position(rng)
        tcp = rng.uniform(low, high)
        if is_near:
            tcp[:2] = np.clip(cube + rng.uniform(-NEAR, NEAR, 2), low[:2], high[:2])
            tcp[2] = rng.uniform(low[2], LOW)
        env.arm.reset(kinematics.inverse(tcp, rng.uniform(0.1, 1.2)))
        scene.place_cube(0, *cube, random_yaw(rng))
        scene.refresh()
        seen = env.look()
        front.append(seen["front"])
        wrist.append(seen["wrist"])
        state.append(seen["state"])
        places.append(cube - scene.tcp()[:2])
    frame = gym.spaces.Box(0, 255, (128, 128, 3), np.uint8)
    space = gym.spaces.Dict(front=frame, wrist=frame, state=env.observation_space["state"])
    env.close()
    seen = {name: np.stack([view.apply(x) for x in front]) for name, view in VIEWS.items()}
    places = np.stack(places).astype(np.float32)
    return Poses(seen, np.stack(wrist), np.stack(state), places, near), space


class Places(nn.Module):
    """The cube from the TCP [dm], (B, 2), of what replay holds of an observation."""

    def __init__(self, space: gym.spaces.Dict, vision: VisionSettings) -> None:
        super().__init__()
        self.encoder = ObservationEncoder(space, 256, vision)
        layers: list[nn.Module] = []
        size = self.encoder.latent_size
        for _ in range(2):
            layers += [nn.Linear(size, 256), nn.LayerNorm(256), nn.SiLU()]
            size = 256
        self.layers = nn.Sequential(*layers, nn.Linear(size, 2))

    def forward(
        self, observation: dict[str, torch.Tensor], noise: NoiseStream | None = None
    ) -> torch.Tensor:
        places: torch.Tensor = self.layers(self.encoder(observation, noise))
        return places


def errors(
    vision: VisionSettings,
    space: gym.spaces.Dict,
    seen: dict[str, torch.Tensor],
    places: Array,
    training: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Distances [mm] of the cube's places from where they are seen, over the poses of the test."""
    torch.manual_seed(0)
    network, noise = Places(space, vision), NoiseStream(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    wanted = 10 * torch.from_numpy(places)
    rng = np.random.default_rng(0)
    known = np.flatnonzero(training)
    for _ in range(STEPS):
        drawn = torch.from_numpy(rng.choice(known, BATCH))
        batch = network.encoder.augment({name: x[drawn] for name, x in seen.items()}, noise)
        loss = (network(batch, noise) - wanted[drawn]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    test = torch.from_numpy(np.flatnonzero(~training))
    with torch.no_grad():
        found = network({name: x[test] for name, x in seen.items()})
    distances: NDArray[np.float64] = 100 * (found - wanted[test]).norm(dim=1).double().numpy()
    return distances


def pair_times(trunks: dict[str, FrozenTrunk], rounds: int = 20) -> dict[str, float]:
    """Median seconds of one thread in which a pair of new frames passes each trunk."""
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in trunks}
    for _ in range(rounds):
        for name, trunk in trunks.items():
            frames = rng.integers(0, 256, (2, 128, 128, 3), np.uint8)
            start = time.process_time()
            trunk.features(frames[:1])
            trunk.features(frames[1:])
            times[name].append(time.process_time() - start)
    return {name: median(values) for name, values in times.items()}


def main(trunks=TRUNKS, heads=HEADS, views=tuple(VIEWS), shifts=(0,)) -> None:
    """Print a row for each combination."""
    set_up_torch(1)
    poses, space = rendered(TRAINING + TEST, seed=0)
    training = np.arange(len(poses.near)) < 2 * TRAINING
    near = poses.near[~training]
    made: dict[str, tuple[FrozenTrunk, VisionSettings]] = {}
    for trunk, weights, stride in trunks:
        vision = VisionSettings(encoder="frozen", trunk=trunk, stride=stride, trunk_weights=weights)
        try:
            tensors = load_trunk_weights(weights, vision.stage)
        except TrunkWeightsError as error:
            print(f"left out: {error}")
            continue
        name = f"{trunk:18s} {weights:8s} {stride:6d}"
        made[name] = FrozenTrunk(tensors, vision.stage, remembered=4), vision
    milliseconds = {n: 1e3 * s for n, s in pair_times({n: t for n, (t, _) in made.items()}).items()}
    print(
        f"{'trunk':18s} {'weights':8s} {'stride':>6s} {'head':9s} {'front':9s} {'shift':>5s}"
        f"{'all: median  90 %':>19s}{'near: median  90 %':>20s} [mm]{'pair [ms]':>11s} {'kB':>5s}"
    )
    state = torch.from_numpy(poses.state)
    for name, (network, vision) in made.items():
        wrist = torch.from_numpy(network.features(poses.wrist))
        for view in views:
            front = torch.from_numpy(network.features(poses.front[view]))
            seen = {"front": front, "wrist": wrist, "state": state}
            for head, shift in product(heads, shifts):
                chosen = vision.model_copy(update={"head": head, "feature_shift": shift})
                found = errors(chosen, space, seen, poses.places, training)
                whole, close = (np.percentile(found[of], [50, 90]) for of in (~near, near))
                print(
                    f"{name} {head:9s} {view:9s} {shift:5d}{whole[0]:13.1f}{whole[1]:6.1f}"
                    f"{close[0]:14.1f}{close[1]:6.1f}{milliseconds[name]:16.1f}"
                    f" {wrist[0].numel() * 2 / 1024:5.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    quiet_ray()
    main()
