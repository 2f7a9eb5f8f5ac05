"""`e2hil virtual`: what it prints is there, works, and is gone when it ends, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.commands.doctor.robot import described_robot
from e2hil_rllib.commands.virtual.virtual_settings import write_settings
from e2hil_rllib.settings.run_settings import load_settings
from envs.hardware.bus.servo_bus import FeetechBus
from envs.operators.pedal import Pedal
from envs.virtual.virtual_so101 import VirtualSO101
from tests.patience import stretched

pytestmark = pytest.mark.realtime

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `e2hil virtual` and returns when it runs."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "e2hil_rllib", "virtual", "--dir", str(folder), *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def introduction(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if "Ctrl-C" in line:
            return lines
    raise AssertionError(f"it ended: {lines}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_both_arms_are_served_until_a_signal(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "arms"
    process = start(folder, "--no-cameras")
    lines = introduction(process)
    follower, leader = folder / "follower", folder / "leader"
    assert lines[:2] == [
        f"follower: port {follower}, calibration {follower}.json",
        f"leader: port {leader}, calibration {leader}.json",
    ]
    settings = folder / "so101.yaml"
    assert f"  e2hil doctor {settings}" in lines
    arms, cameras = described_robot(load_settings(settings))
    assert [(name, Path(port).name) for name, port, _ in arms] == [
        ("follower", "follower"),
        ("leader", "leader"),
    ]
    assert cameras == []
    ports = [follower.readlink(), leader.readlink()]
    for link in (follower, leader):
        with FeetechBus(str(link)) as bus:
            assert bus.ping(6) == 777
    process.send_signal(number)
    rest, _ = process.communicate(timeout=stretched(10))
    assert process.returncode == 0, rest
    assert "overruns" in rest and "Traceback" not in rest
    assert not folder.exists() and not any(port.parent.exists() for port in ports)


def test_a_killed_one_does_not_stand_in_the_way(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path, "--no-cameras")
    introduction(process)
    process.kill()
    process.wait()
    assert (tmp_path / "follower").is_symlink()
    introduction(start(tmp_path, "--no-cameras"))
    with FeetechBus(str(tmp_path / "follower")) as bus:
        assert bus.ping(1) == 777


def test_somebodys_own_settings_are_left_alone(start: Start, tmp_path: Path) -> None:
    own = tmp_path / "so101.yaml"
    own.write_text("task: mine\n")
    process = start(tmp_path, "--no-cameras")
    output, _ = process.communicate(timeout=stretched(60))
    assert process.returncode == 2 and "somebody's own file" in output
    assert own.read_text() == "task: mine\n" and not (tmp_path / "follower").exists()


def test_a_person_is_announced_and_their_pedal_is_in_the_settings(
    start: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "arms"
    process = start(folder, "--no-cameras", "--person", "intervene")
    lines = introduction(process)
    (line,) = [line for line in lines if line.startswith("person: ")]
    assert "takes over" in line and line.endswith(f"pedal {folder / 'pedal'}")
    env = load_settings(folder / "so101.yaml").env
    assert env["pedal"] == str(folder / "pedal") and env["max_episode_steps"] == 100
    Pedal(env["pedal"]).close()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=stretched(10))
    assert "person: 0 episodes, 0 successes, 0 takeovers" in rest and not folder.exists()


def test_without_a_person_nobody_waits_for_a_pedal(start: Start, tmp_path: Path) -> None:
    introduction(start(tmp_path, "--no-cameras"))
    env = load_settings(tmp_path / "so101.yaml").env
    assert "pedal" not in env and "max_episode_steps" not in env


def test_settings_with_a_person_and_cameras_see_the_cube(tmp_path: Path) -> None:
    with VirtualSO101(tmp_path) as so101:
        so101.cameras = SimpleNamespace(urls={"front": "http://127.0.0.1:1/front.mjpg"})  # type: ignore[assignment]
        settings = load_settings(write_settings(so101, tmp_path, with_person=True))
        so101.cameras = None
    assert settings.vision.encoder == "frozen" and list(settings.env["cameras"]) == ["front"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--person", "intervene", "--hand"], "--person and --hand exclude each other"),
        (["--person", "sleep"], "demonstrate"),
    ],
)
def test_a_person_that_cannot_be_is_refused(
    tmp_path: Path, options: list[str], message: str
) -> None:
    folder = tmp_path / "arms"
    result = CliRunner().invoke(app, ["virtual", "--dir", str(folder), *options])
    assert result.exit_code == 2 and message in result.output.replace("\n", " ")
    assert not folder.exists()


def test_the_cameras_are_announced(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path / "arms")
    try:
        lines = introduction(process)
    except AssertionError as error:
        assert "OpenGL" in str(error) and "--no-cameras" in str(error)
        pytest.skip("no off-screen OpenGL on this machine")
    for name in ("front", "wrist"):
        (line,) = [line for line in lines if line.startswith(f"{name} camera: ")]
        assert line.split()[-1].startswith("http://127.0.0.1:")
        assert line.endswith(f"/{name}.mjpg")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with VirtualSO101(tmp_path):
        result = CliRunner().invoke(app, ["virtual", "--dir", str(tmp_path), "--no-cameras"])
        assert result.exit_code == 2
        assert "another virtual SO101 serves" in result.output.replace("\n", " ")
        assert (tmp_path / "follower").exists()


def test_an_arm_that_fails_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("the virtual arm's simulation became unstable")

    monkeypatch.setattr("envs.virtual.mujoco_plant.MujocoPlant.step", explode)
    start = time.monotonic()
    # Whoever does not notice would serve forever.
    patience = threading.Timer(stretched(10), os.kill, (os.getpid(), signal.SIGINT))
    patience.start()
    result = CliRunner().invoke(app, ["virtual", "--dir", str(tmp_path / "arms"), "--no-cameras"])
    patience.cancel()
    assert result.exit_code == 2 and "became unstable" in result.output
    assert time.monotonic() - start < stretched(10) and not (tmp_path / "arms").exists()
