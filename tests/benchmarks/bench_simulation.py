"""How fast the simulation steps: `python -m tests.benchmarks.bench_simulation`.

One environment in one thread, random actions, resets included.
"""

import time
from typing import Any

import gymnasium
import numpy as np

CASES: dict[str, dict[str, Any]] = {
    "state and objects": {},
    "with a person": {"operator": {}},
    "one camera": {"cameras": ["front"]},
    "two cameras": {"cameras": ["front", "wrist"]},
}


def steps_per_second(task: str, seconds: float, **options: Any) -> float:
    """Steps an environment for about so many seconds."""
    env = gymnasium.make(f"envs:SO101{task}-v0", **options)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    env.step(rng.uniform(-1, 1, 4))  # opens the renderer
    steps = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        _, _, terminated, truncated, _ = env.step(rng.uniform(-1, 1, 4))
        steps += 1
        if terminated or truncated:
            env.reset()
    rate = steps / (time.perf_counter() - start)
    env.close()
    return rate


def main(seconds: float = 3.0) -> dict[str, float]:
    """Prints and returns the steps per second of each case."""
    rates = {}
    for task in ("TouchCube", "StackBlocks"):
        for name, options in CASES.items():
            try:
                rates[f"{task}, {name}"] = steps_per_second(task, seconds, **options)
            except RuntimeError as error:
                print(f"{task:12s} {name:18s} skipped: {error}")
                continue
            print(f"{task:12s} {name:18s} {rates[f'{task}, {name}']:7.0f} steps/s", flush=True)
    return rates


if __name__ == "__main__":
    main()
