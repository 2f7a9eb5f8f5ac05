"""Folders of comparisons for tests of reports: results, and small runs by the real writers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e2hil_rllib.data.episodes import episode_path, write_episode
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.report.comparison.trials import METHODS
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode, write_evaluations
from e2hil_rllib.run.progress import STEP, Row, write_rows
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.run.selection_log import JudgedSamples, SelectionLog
from e2hil_rllib.settings.run_settings import Settings

COLUMNS = (
    "task", "method", "seed", "steps", "success_rate", "success_low", "success_high",
    "human_steps", "human_steps_to_90", "intervention_rate", "episodes", "updates", "wall_seconds",
    "evaluation_episodes", "config_hash", "code_version", "run_dir",
)  # fmt: skip
LATER_COLUMNS = (
    "person", "takeovers", "human_steps_to_lasting_90", "takeovers_to_lasting_90", "fell_back",
    "evaluations",
)  # fmt: skip
LEARNER = "learners/default_policy/"
ROWS = 40


def result(method: str, seed: int, success: float = 0.5, **values: Any) -> dict[str, Any]:
    """Return a row of ``results.csv``."""
    task = values.get("task", "touch_cube")
    row = {
        "task": task, "method": method, "seed": seed, "steps": 4000, "success_rate": success,
        "success_low": 0, "success_high": 1, "human_steps": 400 + seed, "human_steps_to_90": "",
        "intervention_rate": 0.3, "episodes": 100, "updates": 8000, "wall_seconds": 100.5,
        "evaluation_episodes": 50, "config_hash": f"{method}-{seed}", "code_version": "abc1234",
        "run_dir": f"trials/{task}/{method}/seed_{seed}",
    }  # fmt: skip
    return row | values


def write_results(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write ``results.csv``; a missing folder is created."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.csv"
    rows = list(rows)
    columns = [*COLUMNS, *(name for name in LATER_COLUMNS if any(name in row for row in rows))]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_run(
    root: Path, method: str, seed: int, *, evaluations: int = 5, minibatches: int = 4
) -> RunFolder:
    """Write a run folder of 4000 steps, with another speed for each method.

    Its predicted changes of entropy agree with the measured ones up to noise, interventions have a
    |c| a hundred times that of the policy's own samples, and far samples are pruned.
    """
    random = np.random.default_rng(100 * METHODS.index(method) + seed)
    run = RunFolder(root)
    settings = {"task": "envs:SO101TouchCube-v0", "stop": {"steps": 4000}, "env": {"operator": {}}}
    run.write_settings(Settings.model_validate(settings))
    write_rows(run.progress, list(_progress(method, random)))
    speed = 1 + METHODS.index(method) / 3
    steps = np.linspace(0, 4000, evaluations + 1)[1:].astype(int).tolist()
    episodes = [
        EvaluatedEpisode(step, e, bool(random.random() < 1 - np.exp(-step / 900 / speed)), 20, 1.0)
        for step in steps
        for e in range(50)
    ]
    write_evaluations(run.evaluation, episodes)
    for folder, number in ((run.episodes, 6), (run.demonstrations, 2)):
        for episode in range(number):
            write_episode(episode_path(folder, episode), _episode(episode, random))
    log = SelectionLog(run.selection, 100)
    for number in range(minibatches):
        log.write(100 * (number + 1), _judged(run, method, random))
    return run


def whole_comparison(
    folder: Path, tasks: Sequence[str], methods: Sequence[str], seeds: int
) -> Path:
    """A comparison with a run for each row; the first method is the best one."""
    rows = []
    for task in tasks:
        for method in methods:
            random = np.random.default_rng(METHODS.index(method))
            for seed in range(seeds):
                row = result(
                    method, seed, round(float(random.uniform(0.5, 1)), 2), task=task,
                    human_steps_to_90="" if seed == 0 else 300 + 10 * seed,
                    intervention_rate=round(float(random.uniform(0.2, 0.5)), 3),
                )  # fmt: skip
                write_run(folder / row["run_dir"], method, seed)
                rows.append(row)
    write_results(folder, rows)
    return folder


def _progress(method: str, random: np.random.Generator) -> Iterable[Row]:
    speed = 1 + METHODS.index(method) / 3
    entropy = 2.0
    for number in range(1, ROWS + 1):
        step = 100 * number
        slope = 4 * np.cos(number / 6) - 1.5  # nats per 1000 updates
        entropy += 0.2 * slope + random.normal(0, 0.02)
        learned = 1 - np.exp(-step / 900 / speed)
        noise = random.normal(0, 0.03)
        change = float(random.normal(0, 0.01))  # of the judged updates
        yield {
            STEP: float(step),
            "num_updates_lifetime": 2.0 * step,
            "num_human_steps_lifetime": float(round(400 * learned)),
            "env_runners/success_rate": float(np.clip(0.4 + 0.6 * learned + noise, 0, 1)),
            "env_runners/autonomous_success_rate": float(np.clip(learned + noise, 0, 1)),
            "env_runners/intervention_rate": float(np.clip(0.6 - 0.5 * learned + noise, 0, 1)),
            LEARNER + "policy_entropy": entropy,
            LEARNER + "temperature": 0.01 / number,
            LEARNER + "entropy_change": slope * float(np.exp(random.normal(0, 1))),
            LEARNER + "entropy_change_learned": 5 * change,
            LEARNER + "entropy_change_measured": change + float(random.normal(0, 0.005)),
        }


def _episode(episode: int, random: np.random.Generator) -> EpisodeSteps:
    steps = 30
    states = np.zeros((steps + 1, 21), np.float32)
    states[:, -3] = np.linspace(0.15, 0.34, steps + 1)
    states[:, -2] = random.uniform(-0.14, 0.14) + np.linspace(-0.02, 0.02, steps + 1)
    states[:, -1] = 0.05
    return EpisodeSteps(
        episode=episode,
        observations={"state": states},
        actions=np.zeros((steps, 4), np.float32),
        rewards=np.zeros(steps, np.float32),
        is_intervention=np.zeros(steps, bool),
        terminated=True,
        truncated=False,
        succeed=True,
        fps=10.0,
        task="touch",
    )


def _judged(run: RunFolder, method: str, random: np.random.Generator) -> JudgedSamples:
    number = 256
    source = np.repeat([0, 1, 2], [128, 28, 100]).astype(np.uint8)
    episode = random.integers(0, 6, number)
    episode[source == 2] = -1 - random.integers(0, 2, 100)
    step = random.integers(0, 30, number)
    scale = np.array([0.01, 1.0, 0.1])[source] * (1 + step / 10)
    influence = scale * np.exp(random.normal(0, 1.5, number)) * random.choice([-1, 1], number)
    lower, upper = np.percentile(np.abs(influence), (5, 90))
    return JudgedSamples(
        episode=episode,
        step=step,
        source=source,
        influence=influence.astype(np.float32),
        kept=(np.abs(influence) >= lower) & (np.abs(influence) <= upper),
        lower=float(lower),
        upper=float(upper),
        rule="random" if method == "random" else "entropy",
        enabled=method != "hil_serl",
    )
