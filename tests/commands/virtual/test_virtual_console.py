"""Each command that can be typed into `e2hil virtual` does what its help says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.commands.virtual.virtual import take_turns
from e2hil_rllib.commands.virtual.virtual_console import HELP, VirtualConsole, fault_lines
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import BusError, PortLostError
from envs.virtual.line_faults import FaultRates
from envs.virtual.mjpeg import Fault
from envs.virtual.virtual_hand import VirtualHand
from envs.virtual.virtual_person import VirtualPerson
from envs.virtual.virtual_so101 import VirtualSO101
from tests.patience import MARGIN, stretched, wait_until

pytestmark = pytest.mark.realtime


@pytest.fixture
def so101(tmp_path: Path) -> Iterator[VirtualSO101]:
    with VirtualSO101(tmp_path / "arms") as so101:
        yield so101


@pytest.fixture
def hand(so101: VirtualSO101) -> VirtualHand:
    return VirtualHand(so101.leader)


@pytest.fixture
def person(so101: VirtualSO101, hand: VirtualHand) -> VirtualPerson:
    return VirtualPerson(so101, hand)


@pytest.fixture
def console(so101: VirtualSO101, hand: VirtualHand, person: VirtualPerson) -> VirtualConsole:
    return VirtualConsole(so101, hand, person)


def finish(hand: VirtualHand) -> None:
    while hand.step():
        time.sleep(0.02)


def test_help_names_every_command(console: VirtualConsole) -> None:
    assert console.carry_out("help") == list(HELP.values())
    assert console.carry_out("  ") == []


def test_a_cable_is_pulled_and_plugged_in_at_the_same_link(
    console: VirtualConsole, so101: VirtualSO101
) -> None:
    for name, arm in (("follower", so101.follower), ("leader", so101.leader)):
        assert console.carry_out(f"unplug {name}") == [f"{name}: unplugged"]
        with pytest.raises(PortLostError):
            FeetechBus(str(arm.link))
        assert console.carry_out(f"plug {name}") == [f"{name}: plugged in at {arm.link}"]
        with FeetechBus(str(arm.link), margin=MARGIN) as bus:
            assert bus.ping(6) == 777


def test_a_motor_gets_hot(console: VirtualConsole, so101: VirtualSO101) -> None:
    assert console.carry_out("heat follower shoulder_lift 75") == ["follower shoulder_lift: 75 °C"]
    with FeetechBus(str(so101.follower.link), margin=MARGIN) as bus:
        reading = bus.read_telemetry([1, 2])
    assert reading.faults[0] == () and reading.faults[1] == ("overheat",)


def test_a_motor_stalls_until_it_is_freed(console: VirtualConsole, so101: VirtualSO101) -> None:
    console.carry_out("stall follower shoulder_pan")
    with FeetechBus(str(so101.follower.link), margin=MARGIN) as bus:
        bus.write(1, "Goal_Position", 2400)
        bus.write(1, "Torque_Enable", 1)
        time.sleep(0.5)
        assert abs(bus.read(1, "Present_Position") - 2047) < 10
        console.carry_out("free follower shoulder_pan")
        wait_until(lambda: abs(bus.read(1, "Present_Position") - 2400) < 10)
    (answer,) = console.carry_out("goals follower")
    assert answer == "follower: 2 goals, at most 31.0° from the joint under torque"


def test_the_hand_obeys(console: VirtualConsole, hand: VirtualHand) -> None:
    console.carry_out("grab")
    assert hand.holding
    console.carry_out("move 0.22 0.05 0.06")
    finish(hand)
    wait_until(lambda: np.linalg.norm(hand.tcp - [0.22, 0.05, 0.06]) < 0.002)
    console.carry_out("gripper 0.7")
    finish(hand)
    assert hand.joints[-1] == pytest.approx(0.7, abs=0.01)
    console.carry_out("let go")
    assert not hand.holding


def test_a_person_does_what_is_typed_and_leaves_the_leader_to_the_hand(
    console: VirtualConsole, person: VirtualPerson, hand: VirtualHand
) -> None:
    for mode in ("demonstrate", "intervene", "rest", "demonstrate"):
        assert console.carry_out(f"person {mode}") == [f"person: {mode}"]
        assert person.mode == mode
    (told,) = console.carry_out("person")
    assert told.startswith("person: demonstrate; 0 episodes, 0 successes, 0 takeovers, led for")
    (wrong,) = console.carry_out("person sleep")
    assert "must be one of" in wrong and "demonstrate" in wrong
    assert console.carry_out("person rest now") == [f"expected: {HELP['person']}"]
    assert person.mode == "demonstrate"
    console.carry_out("grab")
    assert person.mode == "rest" and hand.holding
    console.carry_out("let go")


def test_a_camera_freezes_and_thaws(console: VirtualConsole, so101: VirtualSO101) -> None:
    assert "no cameras are served" in console.carry_out("freeze front")[0]
    injected: list[tuple[str, Fault | None]] = []

    class Server:
        def inject(self, camera: str, fault: Fault | None) -> None:
            injected.append((camera, fault))

    class Cameras:
        def __init__(self) -> None:
            self.urls = {"front": "http://127.0.0.1:1/front.mjpg"}
            self.server = Server()

    so101.cameras = Cameras()  # type: ignore[assignment]
    assert console.carry_out("freeze front") == ["front camera: frozen"]
    assert console.carry_out("thaw front") == ["front camera: live"]
    assert "must be one of ['front']" in console.carry_out("freeze tail")[0]
    assert injected == [("front", Fault.FREEZE), ("front", None)]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("dance", "a command must be one of ['unplug', 'plug', 'heat'"),
        ("unplug arm", "an arm must be one of ['follower', 'leader'], got 'arm'"),
        ("heat follower", "expected: heat follower|leader JOINT °C"),
        ("heat follower tail 3", "a joint must be one of"),
        ("heat follower gripper hot", "expected: heat"),
        ("heat follower gripper 900", "from 0 to 120 °C"),
        ("move 9 9 9", "cannot get its TCP"),
        ("gripper 9", "gripper must be a number"),
        ("let it be", "expected: let go"),
    ],
)
def test_what_is_wrong_is_told(console: VirtualConsole, line: str, answer: str) -> None:
    (told,) = console.carry_out(line)
    assert answer in told


def test_faults_are_counted(console: VirtualConsole, so101: VirtualSO101) -> None:
    so101.follower.port.disturb(FaultRates(lost=0.2, corrupted=0.2), seed=1)
    with FeetechBus(str(so101.follower.link), margin=MARGIN) as bus:
        for _ in range(30):
            try:
                bus.read(1, "Present_Position")
            except BusError:
                continue
    counts = so101.follower.port.faults()
    assert counts["lost"] > 0 and counts["corrupted"] > 0 and counts["late"] == 0
    assert counts["all"] >= 30
    assert console.carry_out("faults") == fault_lines(so101)
    assert f"{counts['lost']} lost" in fault_lines(so101)[0]
    assert "0 lost" in fault_lines(so101)[1]


def test_the_hand_takes_turns(hand: VirtualHand) -> None:
    said: list[str] = []
    held: list[bool] = []
    for _ in take_turns(hand, said.append, leading=0.4, resting=0.2):
        held.append(hand.holding)
        time.sleep(0.02)
        if len(said) == 3:
            break
    assert said[0] == said[2] == "hand: takes hold of the leader and moves it for 0.4 s"
    assert said[1] == "hand: lets go, and rests for 0.2 s"
    assert held[0] and not all(held) and held[-1]


def test_rates_that_are_none_are_refused(tmp_path: Path) -> None:
    for options in (["--lost", "1.5"], ["--late", "-0.1"], ["--lost", "0.6", "--late", "0.6"]):
        result = CliRunner().invoke(app, ["virtual", "--dir", str(tmp_path / "arms"), *options])
        assert result.exit_code == 2 and "fractions of packets" in result.output.replace("\n", " ")


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "e2hil_rllib", "virtual", "--no-cameras", *options]
        process = subprocess.Popen(
            [*command, "--dir", str(tmp_path / "arms")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_lines_are_read_to_the_end_and_it_goes_on_serving(
    typed: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = typed("--hand", "--lost", "0.05")
    assert process.stdin is not None and process.stdout is not None
    for line in process.stdout:
        if line.startswith("hand: takes hold"):
            break
    process.stdin.write("unplug leader\ngrab\nplug leader\n")
    process.stdin.close()
    seen = [next(process.stdout).rstrip() for _ in range(4)]
    assert seen[:3] == [
        "leader: unplugged",
        "hand: no longer leads by itself",
        "hand: holds the leader",
    ]
    assert seen[3].startswith("leader: plugged in")
    time.sleep(0.3)
    assert process.poll() is None
    process.terminate()
    process.stdin = None
    rest, _ = process.communicate(timeout=stretched(10))
    assert process.returncode == 0 and "answers: 0 all" in rest
