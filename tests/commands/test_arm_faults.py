"""Faults while a person leads an arm: the session survives them, or the arm is let go of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from e2hil_rllib.commands.arm.teleop import teleoperate
from envs.hardware.setup.calibration import read_calibration
from envs.kinematics import Kinematics
from envs.virtual.virtual_servo import GoalEvent
from tests.commands.at_the_arm import PersonAtTheArm, settings_of
from tests.goal_checks import check_goals
from tests.patience import stretched, wait_until
from tests.station import Station

pytestmark = pytest.mark.realtime

NEAR = 5  # [ticks]: half a degree, which no motor moves by


@pytest.fixture(autouse=True)
def _leader_in_hand(station: Station) -> None:
    station.ask("grab_and_move", [0.22, 0.0, 0.06], 0.3)


def assert_safe(station: Station) -> None:
    calibration = read_calibration(station.folder / "follower.json", Kinematics().joint_limits)
    report = check_goals(station.ask("goals", "follower"), calibration)
    assert report.goals > 100 and report.unsafe == []


def test_a_pulled_cable_interrupts_until_the_person_goes_on(
    station: Station, person: PersonAtTheArm
) -> None:
    times: dict[str, float] = {}

    def pull() -> None:
        station.ask("grab_and_move", [0.26, 0.06, 0.08], 0.2)
        threading.Timer(0.7, station.ask, ("unplug", "follower")).start()

    def mend() -> None:
        time.sleep(1.0)
        times["back"] = station.ask("plug", "follower")
        person.press("take over", after=1.0)()

    person.on("ready", person.press("take over", after=1.0), person.press("stop"))
    person.on("the person leads", pull)
    person.on("the arm stands still", mend)
    record = teleoperate(settings_of(station), person.console)
    assert "it can be used again: press space to go on" in person.printed
    port = station.folder / "follower"
    assert f"interrupted: port {port} is lost" in person.printed
    assert record.interrupted == 1 and person.printed.count("moving to the start") == 2
    assert_safe(station)
    back = [e for e in station.ask("goals", "follower") if e.time > times["back"]]
    held = [e for e in back if e.time < back[0].time + 0.5]
    assert held and all(abs(e.goal - e.present) <= NEAR for e in held), "it is held where it is"


def test_a_hot_motor_stops_the_arm_until_the_person_goes_on(
    station: Station, person: PersonAtTheArm
) -> None:
    def heat(degrees: int) -> None:
        station.ask("set_register", "follower", 3, "Present_Temperature", degrees)

    def cool() -> None:
        heat(35)
        person.press("take over", after=0.3)()

    person.on("ready", person.press("take over", after=1.0), person.press("stop"))
    person.on("the person leads", lambda: heat(65))
    person.on("the arm stands still: elbow_flex is at 65 °C", cool)
    record = teleoperate(settings_of(station), person.console)
    assert record.interrupted == 1 and person.printed.count("moving to the start") == 2
    assert_safe(station)


def test_a_lost_leader_stands_still_and_comes_back(
    station: Station, person: PersonAtTheArm
) -> None:
    def pull() -> None:
        station.ask("unplug", "leader")
        person.press("stop", after=3.0)()
        time.sleep(1.0)
        station.ask("plug", "leader")

    person.on("ready", person.press("take over", after=1.0))
    person.on("the person leads", pull)
    record = teleoperate(settings_of(station), person.console)
    assert record.interrupted <= 1, "the pause of this very test"
    assert_safe(station)


HOLD, RAMP = 1.0, 1.0


def test_killed_while_it_leads_it_is_held_and_let_go_of(station: Station, tmp_path: Path) -> None:
    settings = settings_of(station)
    settings.env["follower"]["supervisor"] = {"hold": HOLD, "ramp": RAMP}
    config = tmp_path / "so101.yaml"
    config.write_text(settings.to_yaml())
    command = [sys.executable, "-m", "e2hil_rllib", "teleop", str(config)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as program:
        assert program.stdin is not None and program.stdout is not None
        for line in program.stdout:
            if line.startswith("ready"):
                program.stdin.write("take over\n")
                program.stdin.flush()
            if line.startswith("the person leads"):
                break
        station.ask("grab_and_move", [0.28, 0.08, 0.08], 0.2)
        time.sleep(0.5)
        os.kill(program.pid, signal.SIGKILL)
        killed = time.monotonic()

    def torque(arm: str) -> list[int]:
        return station.ask("registers", arm, "Torque_Enable")

    assert torque("follower") == [1] * 6, "a servo keeps its torque when its host dies"
    wait_until(lambda: station.ask("registers", "follower", "Torque_Limit")[1] < 900, 10.0)
    off = wait_until(lambda: torque("follower") == [0] * 6 and torque("leader") == [0] * 6, 10.0)
    assert HOLD + RAMP - 0.1 <= off - killed < HOLD + RAMP + stretched(3.0)
    later: list[GoalEvent] = [e for e in station.ask("goals", "follower") if e.time > killed]
    assert len(later) >= 6 and all(abs(e.goal - e.present) <= NEAR for e in later)
    assert_safe(station)
