"""A task that trains in a second, as a settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from e2hil_rllib.settings.run_settings import Settings

REACH: dict[str, Any] = {
    "task": "tests.helpers:E2HiLReach-v0",
    "stop": {"steps": 60},
    "human_in_the_loop": {"demonstration_fraction": 0},
    "training": {
        "hidden_sizes": [16, 16], "encoder_size": 16, "train_batch_size_per_learner": 16,
        "steps_per_iteration": 20,
    },
    "checkpoint": {"every_steps": 20},
    "evaluation": {"episodes": 2},
}  # fmt: skip


def reach(**values: Any) -> Settings:
    """Return its settings, with some sections replaced."""
    return Settings.model_validate(REACH | values)


def write_task(folder: Path, name: str, **values: Any) -> None:
    """Write its settings file, with some sections replaced."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(REACH | values), encoding="utf-8")
