"""`e2hil teleop`: the leader leads the follower, and nobody learns."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console
from rich.live import Live

from e2hil_rllib.commands.arm.arm_display import LoopRecord
from e2hil_rllib.commands.arm.arm_session import ArmSessionError, arm_session, is_physical
from e2hil_rllib.commands.display import live_line
from e2hil_rllib.settings.run_settings import Settings
from envs.operators.episode_keys import OperatorStopError

_PLAIN_INTERVAL = 5.0  # between two lines where the console is no terminal [s]


def teleoperate(settings: Settings, console: Console, seconds: float | None = None) -> LoopRecord:
    """Lets the person lead the follower with the leader arm until they stop.

    While nobody leads, the follower stands still and the leader mirrors it. The keys for success,
    failure and re-record bring the follower back to its start.

    Args:
        settings: of a physical arm, or a virtual one.
        console: where to show how it is doing.
        seconds: stop by itself after so long from the first step; None to go on.

    Returns:
        What the loop was like.

    Raises:
        ArmSessionError: the arm cannot be used, or fails.
    """
    if settings.env.get("leader") is None:
        raise ArmSessionError(
            f"Nobody can lead {settings.task}: name the leader's port and calibration in env.leader"
        )
    changes: dict[str, Any] = {"operator": {"mode": "intervene"}, "max_episode_steps": -1}
    with arm_session(settings, console, **changes) as env:
        if not is_physical(env):
            raise ArmSessionError(f"{settings.task} has no arm that a leader could lead")
        record = LoopRecord(env)
        with contextlib.suppress(OperatorStopError, KeyboardInterrupt):
            _lead(env, record, console, seconds)
    for line in record.lines():
        console.print(line, highlight=False, soft_wrap=True)
    return record


def _lead(
    env: gymnasium.Env[Any, Any], record: LoopRecord, console: Console, seconds: float | None
) -> None:
    idle = np.zeros(env.action_space.shape or (), np.float32)
    end: float | None = None
    while True:
        env.reset()
        record.begin()
        now = time.monotonic()
        end = now + seconds if end is None and seconds is not None else end
        shown = _Shown(console)
        with shown:
            ended = False
            while not ended:
                *_, terminated, truncated, info = env.step(idle)
                ended = terminated or truncated
                record.add(info)
                shown.show(record)
                if end is not None and time.monotonic() >= end:
                    return
        if info["interrupted"]:
            console.print(f"interrupted: {info['interrupted']}", highlight=False, soft_wrap=True)


class _Shown:
    """One live line on a terminal, a plain line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._next = 0.0

    def __enter__(self) -> None:
        if self._live is not None:
            self._live.start()

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, record: LoopRecord) -> None:
        """Shows how the loop is doing."""
        now = time.monotonic()
        if now < self._next:
            return
        if self._live is not None:
            self._next = now + 0.25
            self._live.update(live_line(record.cells(), self._console.width))
            return
        self._next = now + _PLAIN_INTERVAL
        text = "  ".join(f"{name} {value}" for name, value in record.cells())
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
