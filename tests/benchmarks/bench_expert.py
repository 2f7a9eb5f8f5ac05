"""How well the scripted expert and the simulated person do.

Run `python -m tests.benchmarks.bench_expert`.
Prints, per task, successes of the expert and of a demonstrating person in 100 seeds, and, with a
person who watches policies of different quality, the share of human steps and the success.
"""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from envs.operators import Expert

TASKS = ("TouchCube", "PickCube", "PickPlaceCube", "PushCube", "StackBlocks")

# The paper's rig: 8 Hz, 10 mm steps, its workspace.
PAPER = {
    "control_hz": 8.0,
    "step_size": 0.01,
    "workspace": {"x": [0.18, 0.40], "y": [-0.03, 0.14], "z": [0.02, 0.09]},
}

Policy = Callable[[Expert, np.random.Generator], np.ndarray]

POLICIES: dict[str, Policy] = {
    "random": lambda expert, rng: rng.uniform(-1, 1, 4),
    "frozen": lambda expert, rng: np.zeros(4),
    "steady": lambda expert, rng: 0.5 * expert.act(),
}


class Outcome(NamedTuple):
    """Of a number of episodes: success rate, mean length, share of human steps."""

    success: float
    steps: float
    interventions: float


def rollouts(task: str, policy: Policy, episodes: int, **options: Any) -> Outcome:
    """Runs one episode for each of the seeds from 0 on."""
    env = gymnasium.make(f"envs:SO101{task}-v0", **options)
    rng = np.random.default_rng(0)
    succeeded, steps, led = 0, 0, 0
    for seed in range(episodes):
        env.reset(seed=seed)
        expert = Expert(env.unwrapped)
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(policy(expert, rng))
            over = terminated or truncated
            steps += 1
            led += info["is_intervention"]
        succeeded += info["succeed"]
    env.close()
    return Outcome(succeeded / episodes, steps / episodes, led / steps)


def main(episodes: int = 100) -> dict[str, float]:
    """Prints the table; returns the expert's success by task."""
    successes = {}
    print(f"{episodes} seeds per line; success, mean steps, share of human steps")
    for task in TASKS:
        expert = rollouts(task, lambda expert, rng: expert.act(), episodes)
        successes[task] = expert.success
        lines = {"expert": expert}
        limit = {"max_episode_steps": 400}
        lines["expert, paper's rig"] = rollouts(
            task, lambda expert, rng: expert.act(), episodes, **PAPER, **limit
        )
        lines["person demonstrates"] = rollouts(
            task, POLICIES["frozen"], episodes, operator={"mode": "demonstrate"}
        )
        lines["random policy alone"] = rollouts(task, POLICIES["random"], max(1, episodes // 5))
        for name, policy in POLICIES.items():
            lines[f"person and {name} policy"] = rollouts(
                task, policy, max(1, episodes // 2), operator={"mode": "intervene"}
            )
        for name, outcome in lines.items():
            print(
                f"{task:14s} {name:25s} {outcome.success:6.1%} {outcome.steps:7.1f} "
                f"{outcome.interventions:6.1%}",
                flush=True,
            )
    return successes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=100)
    main(parser.parse_args().episodes)
