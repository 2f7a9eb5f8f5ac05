"""The `e2hil` command with a clock: notes when steps are recorded, and when they are first used.

`python -m tests.benchmarks.timed robot|train ...` takes the same arguments, and writes its figures
into the file that E2HIL_TIMES names.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np

from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.data.transitions import DEMONSTRATION

FILE = "E2HIL_TIMES"


def note_recorded(times: list[float]) -> None:
    """Notes when each step is recorded [s]."""
    from e2hil_rllib.external.robot.recorder import Recorder

    add = Recorder.add

    def timed(self: Any, step: Any) -> None:
        times.append(time.monotonic())
        add(self, step)

    Recorder.add = timed  # type: ignore[method-assign]


def note_first_use(first: dict[tuple[int, int], float]) -> None:
    """Notes when each (episode, step) of a robot is in a minibatch for the first time [s]."""
    from e2hil_rllib.data.replay import HumanInTheLoopReplay

    sample = HumanInTheLoopReplay.sample

    def timed(self: Any, *arguments: Any) -> Any:
        batch = sample(self, *arguments)
        now = time.monotonic()
        online = batch["source"] != DEMONSTRATION
        for episode, step in zip(batch["episode"][online], batch["step"][online], strict=True):
            first.setdefault((int(episode), int(step)), now)
        return batch

    HumanInTheLoopReplay.sample = timed  # type: ignore[method-assign]


def main() -> None:
    """Runs the command, and writes the figures however it ends."""
    recorded: list[float] = []
    first: dict[tuple[int, int], float] = {}
    if sys.argv[1] == "robot":
        note_recorded(recorded)
    else:
        note_first_use(first)
    try:
        app()
    finally:
        used = np.array([(*key, at) for key, at in first.items()], np.float64).reshape(-1, 3)
        np.savez(os.environ[FILE] + f".{sys.argv[1]}.npz", recorded=recorded, used=used)


if __name__ == "__main__":
    main()
