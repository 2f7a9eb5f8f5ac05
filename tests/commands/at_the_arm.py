"""A person at a virtual SO101: reads what a command prints, moves the leader, presses keys."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable
from typing import Any

from rich.console import Console

from e2hil_rllib.settings.run_settings import Settings
from tests.patience import MARGIN, stretched
from tests.station import Station

QUICK = {"reset_speed": 1.5, "letting_go": {"ramp_time": 0.3}}
"""Options of a follower that hurries between episodes."""

_PATIENCE = 60.0  # [s]


class PersonAtTheArm(io.TextIOBase):
    """What a command prints is written here; lines that begin as expected make the person act.

    Args:
        station: the arms.
        monkeypatch: puts a pipe in the place of the terminal.
    """

    def __init__(self, station: Station, monkeypatch: Any) -> None:
        self.station = station
        self.printed = ""
        self.console = Console(file=self, width=200)
        self._reactions: list[tuple[str, Callable[[], None]]] = []
        reader, self._keyboard = os.pipe()
        monkeypatch.setattr("sys.stdin", os.fdopen(reader))
        # A command that waits for what never comes ends, and its test fails.
        self._patience = threading.Timer(stretched(_PATIENCE), self.press("stop"))
        self._patience.daemon = True
        self._patience.start()

    def on(self, beginning: str, *actions: Callable[[], None]) -> None:
        """Acts at the next line that begins so and has no reaction of its own yet, in turn."""
        self._reactions += [(beginning, action) for action in actions]

    def press(self, event: str, after: float = 0.0) -> Callable[[], None]:
        """An action: presses the key of an event, some seconds later."""

        def now() -> None:
            with contextlib.suppress(OSError):  # nobody reads any more
                os.write(self._keyboard, f"{event}\n".encode())

        return now if not after else lambda: threading.Timer(after, now).start()

    def leave(self) -> None:
        """Goes away."""
        self._patience.cancel()

    def write(self, text: str) -> int:
        """Takes in what is printed."""
        self.printed += text
        for line in text.splitlines():
            for place, (beginning, action) in enumerate(self._reactions):
                if line.startswith(beginning):
                    del self._reactions[place]
                    action()
                    break
        return len(text)


def settings_of(station: Station, **options: Any) -> Settings:
    """Settings of a station's arms, without cameras, quick between episodes."""
    env = station.env_options(**options)
    for arm in ("follower", "leader"):
        env[arm]["margin"] = MARGIN
    env["follower"] |= QUICK
    env["cameras"] = None
    env = {"start_noise": 0.0} | env
    values = {"task": "envs:SO101Robot-v0", "env": env, "stop": {"steps": 1}}
    return Settings.model_validate(values)
