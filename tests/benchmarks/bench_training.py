"""Whole training runs: Pendulum without a human, and what `make train` does on Touch Cube."""

from __future__ import annotations

import csv
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from rich.console import Console

from e2hil_rllib.commands.train import train
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.run.evaluation_log import read_evaluations
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.build import ray_session
from e2hil_rllib.settings.run_settings import Settings

CONFIGS = Path(__file__).parents[2] / "configs"


def pendulum(max_steps: int = 10_000) -> float:
    """SAC sanity without humans: the deterministic return of 20 episodes, every 2 000 steps."""
    settings = yaml.safe_load((CONFIGS / "pendulum.yaml").read_text())
    with ray_session(Settings.model_validate(settings)):
        return _pendulum(settings, max_steps)


def _pendulum(settings: dict[str, Any], max_steps: int) -> float:
    algo = (
        E2HiLConfig()
        .preset(settings["preset"])
        .environment("Pendulum-v1")
        .human_in_the_loop(**settings["human_in_the_loop"])
        .training(steps_per_iteration=2_000, **settings["training"])
        .debugging(seed=0)
        .build_algo()
    )
    result, steps = float("-inf"), 0
    while result <= -250 and steps < max_steps:
        steps = algo.train()["num_env_steps_sampled_lifetime"]
        result = mean(episode["return"] for episode in algo.evaluate_episodes(20, seed=1000))
        print(f"Pendulum-v1 at step {steps}: return {result:.0f} (to show: above -250)", flush=True)
    algo.stop()
    return result


def touch_cube(config: str = "touch_cube.yaml") -> float:
    """`make train`: success by start, interventions by quarter, minutes."""
    settings = Settings.model_validate(yaml.safe_load((CONFIGS / config).read_text()))
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        start = time.monotonic()
        train(settings, run, resume=True, console=Console(width=100))
        minutes = (time.monotonic() - start) / 60
        episodes = read_evaluations(run.evaluation)
        shares = human_share_by_quarter(run.progress)
    success = mean(bool(episode.success) for episode in episodes)
    print(f"{config}: success {success:.0%} of {len(episodes)} episodes in {minutes:.1f} minutes")
    print("human steps by quarter: " + "  ".join(f"{share:.1%}" for share in shares))
    return success


def human_share_by_quarter(progress: Path) -> list[float]:
    """Human-controlled steps over all steps in each quarter of a run."""
    with progress.open() as file:
        rows = [
            (float(row["num_env_steps_sampled_lifetime"]), float(row["num_human_steps_lifetime"]))
            for row in csv.DictReader(file)
        ]
    last = rows[-1][0]
    edges = [(0.0, 0.0)]
    edges += [next(row for row in rows if row[0] >= last * q / 4) for q in (1, 2, 3, 4)]
    return [
        (human - human_before) / (steps - steps_before)
        for (steps_before, human_before), (steps, human) in pairwise(edges)
    ]


def main() -> None:
    """Print both."""
    pendulum()
    touch_cube()


if __name__ == "__main__":
    main()
