"""A whole run on the virtual SO101: arm and person, learner and robot, each its own process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from envs.closing import Closing
from tests.patience import stretched
from tests.relay import LOOPBACK, Relay
from tests.station import Station

_PATIENCE = 120.0  # [s]
_URGENT = -15
"""Niceness of arm and robot: on a real robot nothing else takes their cores away."""


class RobotRun(Closing):
    """Starts and kills the processes of a run; what they print goes into files.

    Args:
        folder: For everything.
        settings: Change those of Touch Cube on the virtual arm, section by section.
        seed: Of the person.
        rate: Control steps per second [Hz].
        step_size: Largest step of the TCP along an axis [m].
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        seed: int = 0,
        rate: float = 10.0,
        step_size: float = 0.02,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.run_dir = folder, folder / "run"
        self.station = Station(folder / "arm", cameras=True, seed=seed)
        renice(self.station.pid)
        port = free_port()
        self.relay = Relay(port)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        env = self.station.env_options(
            pedal=True,
            max_episode_steps=round(10 * rate),
            control_hz=rate,
            step_size=step_size,
        )
        follower = env["follower"] | {"supervisor": {"hold": 1.0, "ramp": 1.0}}
        values: dict[str, Any] = {
            "task": "envs:SO101Robot-v0",
            "env": env | {"follower": follower},
            "vision": {"encoder": "frozen", "trunk_weights": "seed:0"},
            "external": {"port": port, "spool": str(folder / "spool"), "hold_after": 4.0},
            "stop": {"steps": 4000},
        }
        for section, changes in settings.items():
            old = values.get(section)
            values[section] = old | changes if isinstance(old, dict) else changes
        self.learner_settings = folder / "learner.yaml"
        self.learner_settings.write_text(yaml.safe_dump(values))
        values["external"]["port"] = self.relay.port
        self.robot_settings = folder / "robot.yaml"
        self.robot_settings.write_text(yaml.safe_dump(values))

    def record(self, episodes: int, out: Path) -> None:
        """Lets the person demonstrate."""
        self.station.ask("person", "demonstrate")
        arguments = ["record", self.robot_settings, "--episodes", episodes, "--out", out]
        self._start("record", *arguments)
        self.wait("record")
        self.station.ask("person", "rest")

    def start_learner(self, program: str = "e2hil_rllib") -> None:
        """Starts it, or lets it go on."""
        arguments = ["train", self.learner_settings, "--run-dir", self.run_dir, "--resume"]
        self._start("learner", *arguments, program=program)

    def start_robot(self, program: str = "e2hil_rllib") -> None:
        """Starts it, with the person who watches it."""
        self.station.ask("person", "intervene")
        self._start("robot", "robot", self.robot_settings, program=program)

    def kill(self, name: str) -> float:
        """Ends a process as a power cut does; returns when [s]."""
        os.kill(self._processes[name].pid, signal.SIGKILL)
        self._processes[name].wait()
        return time.monotonic()

    def stop(self, name: str) -> None:
        """Asks a process to end."""
        if self._processes[name].poll() is None:
            self._processes[name].send_signal(signal.SIGINT)
            self.wait(name)

    def runs(self, name: str) -> bool:
        """Whether a process lives."""
        return self._processes[name].poll() is None

    def wait(self, name: str, seconds: float = 600.0) -> int:
        """Waits for a process's end, and returns its exit status."""
        return self._processes[name].wait(seconds)

    def printed(self, name: str) -> str:
        """All that the processes of a name have printed."""
        return (self.folder / f"{name}.log").read_text()

    def close(self) -> None:
        """Ends everything."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        self.relay.close()
        self.station.close()

    def _start(self, name: str, *arguments: Any, program: str = "e2hil_rllib") -> None:
        command = [sys.executable, "-m", program, *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        if name != "learner":
            renice(self._processes[name].pid)


def renice(pid: int) -> None:
    """Makes a process urgent where that is allowed."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, _URGENT)
    except PermissionError:
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), _URGENT)


def until(condition: Callable[[], bool], what: str, seconds: float = _PATIENCE) -> None:
    """Waits for something to come true."""
    end = time.monotonic() + stretched(seconds)
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


def free_port() -> int:
    """A port at which nobody listens now."""
    with socket.create_server((LOOPBACK, 0)) as free:
        port: int = free.getsockname()[1]
    return port
