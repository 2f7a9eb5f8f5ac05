"""The calibration of a virtual arm, from the command's side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from e2hil_rllib.commands.arm.calibrate import (
    CalibrateError,
    calibrate,
    calibration_file,
    keep_existing,
)
from envs.hardware.setup.calibration import read_calibration
from envs.kinematics import Kinematics
from envs.virtual.plant import KinematicPlant
from envs.virtual.virtual_chain import VirtualChain
from envs.virtual.virtual_port import VirtualPort

pytestmark = pytest.mark.realtime


@pytest.fixture
def plant() -> KinematicPlant:
    return KinematicPlant([0.0] * 6)


@pytest.fixture
def port(plant: KinematicPlant) -> Iterator[VirtualPort]:
    with VirtualPort(VirtualChain(range(1, 7), plant)) as port:
        yield port


def hand(port: VirtualPort, plant: KinematicPlant, then: type[BaseException] | None = None):
    """Sweeps all joints while it is asked for lines, presses Enter too early and at the end."""
    angles = iter((*np.linspace(-1.7, 1.7, 40), *np.linspace(1.7, 0.0, 20), 0.0, 0.0))
    calls = iter(range(1000))

    def poll() -> list[str]:
        angle = next(angles, None)
        if angle is None:
            if then is not None:
                raise then
            return [""]

        def move() -> None:
            for place, servo in enumerate(port.chain.servos):
                plant.move(place, 3.0 + angle)
                servo.advance(0.0, 0.0, plant.state(place))

        port.call(move)
        return [""] if next(calls) == 3 else []

    return poll


def test_an_arm_is_calibrated(port: VirtualPort, plant: KinematicPlant, tmp_path: Path) -> None:
    file, console = tmp_path / "arm.json", Console(record=True, width=200)
    file.write_text("earlier")
    calibrate(port.path, file, console, hand(port, plant))
    motors = read_calibration(file, Kinematics().joint_limits).motors
    for name, motor in motors.items():
        servo = port.chain.servo(motor.id)
        assert servo.get("Homing_Offset") == motor.homing_offset, name
        assert servo.get("Min_Position_Limit") == motor.range_min
        assert servo.get("Max_Position_Limit") == motor.range_max
    assert (tmp_path / "arm.json.bak").read_text() == "earlier"
    said = console.export_text()
    assert "Not yet: not moved far enough" in said and "e2hil doctor" in said


def test_ctrl_c_changes_nothing(port: VirtualPort, plant: KinematicPlant, tmp_path: Path) -> None:
    before = [bytes(servo._memory[:40]) for servo in port.chain.servos]
    with pytest.raises(KeyboardInterrupt):
        file = tmp_path / "arm.json"
        calibrate(port.path, file, Console(), hand(port, plant, KeyboardInterrupt))
    assert [bytes(servo._memory[:40]) for servo in port.chain.servos] == before
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(port: VirtualPort, tmp_path: Path) -> None:
    port.call(lambda: port.chain.servos[2].set("ID", 33))
    with pytest.raises(CalibrateError, match=r"elbow_flex \(motor 3\) missing"):
        calibrate(port.path, tmp_path / "arm.json", Console(), list)
    port.unplug()
    with pytest.raises(CalibrateError, match=f"port {port.path} is lost"):
        calibrate(port.path, tmp_path / "arm.json", Console(), list)


def test_every_earlier_file_is_kept_and_its_place_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "arm.json"
    assert keep_existing(file) is None
    file.write_text("x")
    assert keep_existing(file) != keep_existing(file)
    with pytest.raises(CalibrateError, match="--out FILE"):
        calibration_file(None, "follower", None)
    assert "so101_leader/me.json" in str(calibration_file(None, "leader", "me"))
