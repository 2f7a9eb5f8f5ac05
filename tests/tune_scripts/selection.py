"""Run folders and ended trials for the tests of sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from e2hil_rllib.run.evaluation_log import EvaluatedEpisode, write_evaluations
from e2hil_rllib.run.progress import STEP, write_rows
from e2hil_rllib.run.run_folder import RunFolder
from tune_scripts.sweep.results import EndedTrial
from tune_scripts.sweep.trial import BUDGET, run_dir


def evaluated_run(
    folder: Path, evaluations: Sequence[tuple[int, int, Sequence[bool | None]]], checkpoint: int
) -> RunFolder:
    """Write a run with evaluations (steps, human steps, successes) and a checkpoint's folder."""
    run = RunFolder(folder)
    rows = [{STEP: float(s), "num_human_steps_lifetime": float(h)} for s, h, _ in evaluations]
    write_rows(run.progress, rows)
    write_evaluations(
        run.evaluation,
        [
            EvaluatedEpisode(step=step, seed=n, success=done, steps=5, episode_return=0.0)
            for step, _, successes in evaluations
            for n, done in enumerate(successes)
        ],
    )
    run.checkpoints().save(checkpoint, lambda path: Path(path).mkdir(parents=True, exist_ok=True))
    return run


def ended_trial(number: int = 0, **values: Any) -> EndedTrial:
    """Return a trial, by default one with the paper's values."""
    known: dict[str, Any] = {
        "upper_percentile": 90.0, "lower_percentile": 5.0, "num_action_samples": 8,
        "utd_ratio": 2, "initial_alpha": 0.01, "demonstration_fraction": 0.5,
        "steps": 4000, "human_steps": 700, "success_rate": 1.0, "objective": 0.5,
        "ended": BUDGET, "code_version": "abc", "run_dir": run_dir(number),
    }  # fmt: skip
    return EndedTrial(number=number, **known | values)
