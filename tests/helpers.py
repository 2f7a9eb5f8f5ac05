"""Small data and environments that several tests share."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np

from e2hil_rllib.data.replay import HumanInTheLoopReplay, ReplayBuffer
from e2hil_rllib.data.transitions import EpisodeSteps, Transitions


def make_transitions(
    episode: int, steps: range, *, source: np.ndarray | None = None, terminated: bool = False,
    images: bool = False,
) -> Transitions:  # fmt: skip
    """Steps whose state at step t is (t, episode), whose action is t/1000 and reward is t."""
    times = np.arange(steps.start, steps.stop + 1)
    observations = {"state": np.stack([times, np.full(len(times), episode)], 1).astype(np.float32)}
    if images:
        observations["front"] = np.broadcast_to(
            (times % 256).astype(np.uint8)[:, None, None, None], (len(times), 4, 4, 3)
        ).copy()
    ends = np.zeros(len(steps), bool)
    ends[-1:] = terminated
    return Transitions(
        episode,
        steps.start,
        observations,
        np.repeat(times[:-1, None] / 1000, 2, axis=1).astype(np.float32),
        times[:-1].astype(np.float32),
        ends,
        np.zeros(len(steps), np.uint8) if source is None else source.astype(np.uint8),
    )


def make_buffer(
    capacity: int, *, images: bool = False, gamma: float = 0.9, n_step: int = 1
) -> ReplayBuffer:
    """A buffer for :func:`make_transitions`."""
    shapes: dict[str, tuple[int, ...]] = {"state": (2,)}
    dtypes: dict[str, Any] = {"state": np.dtype(np.float32)}
    if images:
        shapes["front"], dtypes["front"] = (4, 4, 3), np.dtype(np.uint8)
    return ReplayBuffer(capacity, shapes, dtypes, 2, gamma=gamma, n_step=n_step)


def make_replay(online: int = 100, demonstrations: int = 50, **kwargs: Any) -> HumanInTheLoopReplay:
    """Both buffers for :func:`make_transitions`."""
    settings = {"demonstration_fraction": 0.5, "seed": 0} | kwargs
    return HumanInTheLoopReplay(make_buffer(online), make_buffer(demonstrations), **settings)


def policy_weights(algo: Any) -> dict[str, np.ndarray]:
    """All parameters of an algorithm's module by name."""
    state = algo.learner_group.get_state(components="learner/rl_module")["learner"]["rl_module"]
    return {name: np.array(value) for name, value in state["default_policy"].items()}


def same_arrays(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    """Whether two dicts hold the same arrays bit for bit."""
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


class ReachEnv(gym.Env):
    """A point that should reach the origin of a plane, with a human who steps in at fixed times.

    It follows the contract: Dict observation, ``info`` at reset and every step. The human acts at
    steps 3 to 5 of every ``human_every``-th episode. Faults can be switched on to test errors.
    """

    def __init__(self, human_every: int = 2, fault: str = "", limit: int = 20, operator: Any = 1):
        self.observation_space = gym.spaces.Dict(
            state=gym.spaces.Box(-2, 2, (2,), np.float32),
            objects=gym.spaces.Box(-1, 1, (1,), np.float32),
        )
        self.action_space = gym.spaces.Box(-2, 2, (2,), np.float32)
        self.human_every = human_every if operator else 0
        self.fault, self.limit = fault, limit
        self.episode = -1

    def _observation(self) -> dict[str, np.ndarray]:
        state = self.position.astype(np.float32)
        if self.fault == "observation" and self.t == 4:
            state = state * np.nan
        return {"state": state, "objects": np.zeros(1, np.float32)}

    def _info(self, human: bool, action: np.ndarray, succeed: bool) -> dict[str, Any]:
        teleop = action if human else np.zeros(2)
        if self.fault == "teleop_shape":
            teleop = np.zeros(3)
        if self.fault == "teleop_nan":
            teleop = np.full(2, np.nan)
        if self.fault == "no_info":
            return {}
        return {
            "is_intervention": human,
            "teleop_action": teleop.astype(np.float32),
            "succeed": succeed,
        }

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1, 2)
        self.t = 0
        self.episode += 1
        info = self._info(False, np.zeros(2), False)
        return self._observation(), info | {"distance": float(np.linalg.norm(self.position))}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        human = bool(self.human_every) and self.episode % self.human_every == 0
        human = human and 3 <= self.t <= 5
        executed = np.clip(-5 * self.position, -2, 2) if human else np.asarray(action)
        self.position = np.clip(self.position + 0.1 * executed, -2, 2)
        self.t += 1
        reached = bool(np.linalg.norm(self.position) < 0.15)
        reward = float("nan") if self.fault == "reward" and self.t == 4 else float(reached)
        if self.fault == "crash" and self.t == 4:
            raise RuntimeError("the motor is on fire")
        info = self._info(human, executed, reached)
        return self._observation(), reward, reached, self.t >= self.limit, info


class SeeingReachEnv(ReachEnv):
    """The same with a camera that alone shows where the point is: a bright square of 32x32 pixels.

    The top left pixel counts the steps and the next one the episodes, so that no frame comes twice.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.observation_space = gym.spaces.Dict(
            state=gym.spaces.Box(-2, 2, (2,), np.float32),
            front=gym.spaces.Box(0, 255, (32, 32, 3), np.uint8),
        )

    def _observation(self) -> dict[str, np.ndarray]:
        frame = np.full((32, 32, 3), 30, np.uint8)
        y, x = (15 + 7 * self.position).round().astype(int)
        frame[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = (250, 200, 50)
        frame[0, 0], frame[0, 1] = self.t, self.episode % 256
        return {"state": np.zeros(2, np.float32), "front": frame}


gym.register("E2HiLReach-v0", ReachEnv)
gym.register("E2HiLSeeingReach-v0", SeeingReachEnv)


def assert_same_steps(one: EpisodeSteps, two: EpisodeSteps) -> None:
    """Both are of one class, and equal in every field, with types and shapes of arrays."""
    assert type(one) is type(two)
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(two, field.name)
        if field.name == "observations":
            assert list(left) == list(right)
            for key in left:
                assert left[key].dtype == right[key].dtype
                np.testing.assert_array_equal(left[key], right[key], strict=True)
        elif isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right, strict=True)
        else:
            assert left == right and type(left) is type(right), field.name
