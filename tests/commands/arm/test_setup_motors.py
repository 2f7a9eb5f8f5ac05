"""The guidance through setting motors up, with a person who plugs motors in and types."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console
from typer.testing import CliRunner

from e2hil_rllib.commands.arm.setup_motors import ORDER, SetupMotorsError, setup_motors
from e2hil_rllib.commands.cli.app import app
from envs.hardware.bus import servo_bus as bus_module
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.setup import motor_setup
from envs.kinematics import JOINTS
from envs.virtual.plant import KinematicPlant
from envs.virtual.virtual_chain import VirtualChain
from envs.virtual.virtual_port import VirtualPort
from envs.virtual.virtual_servo import VirtualServo

pytestmark = pytest.mark.realtime

CONNECT, WRONG = "Connect only the motor of", "Type yes"


class Bench:
    """A board, motors beside it, and a person who does as the screen asks.

    Attributes:
        motors: by joint, new at first.
        plan: what to do at the next questions: what the question must say, motors to plug in
            (None: as they are), and what to type. Where it is at its end, Ctrl-C is pressed.
        screen: all that was printed.
        said: what the last run printed.
    """

    def __init__(self, port: VirtualPort) -> None:
        self.port = port
        self.motors = {name: VirtualServo(1) for name in JOINTS}
        self.plan: list[tuple[str, list[VirtualServo] | None, str]] = []
        self.screen = io.StringIO()
        self.said = ""
        self._read = 0
        self._ahead: list[str] = []

    def plug(self, *motors: VirtualServo) -> None:
        def replace() -> None:
            self.port.chain.servos[:] = motors

        self.port.call(replace)

    def poll(self) -> list[str]:
        ahead, self._ahead = self._ahead, []
        news = self.screen.getvalue()[self._read :]
        if ahead or not (CONNECT in news or WRONG in news):
            return ahead
        self._read += len(news)
        if not self.plan:
            raise KeyboardInterrupt
        question, motors, line = self.plan.pop(0)
        assert question in news
        if motors is not None:
            self.plug(*motors)
        self._ahead = ["yes"]  # typed while the program works
        return [line]

    def run(self, joint: str | None = None) -> str:
        """Returns what the screen says of this run."""
        start = self.screen.tell()
        console = Console(file=self.screen, width=100)

        def open_bus(rate: int) -> FeetechBus:
            # The servos' thread may have to wait for a core: an answer that comes after its margin
            # is garbage. Asking again would not help, and each silent id would cost it anew.
            return FeetechBus(self.port.path, rate, retries=0, margin=0.08)

        try:
            setup_motors(self.port.path, joint, console, self.poll, open_bus)
        finally:
            self.said = self.screen.getvalue()[start:]
        return self.said

    def ids(self) -> list[int]:
        return [motor.servo_id for motor in self.motors.values()]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(bus_module, "BROADCAST_PING_WINDOW", 0.12)
    monkeypatch.setattr(motor_setup, "OTHER_BAUDRATES", (500_000,))
    with VirtualPort(VirtualChain((), KinematicPlant([0.0] * 6))) as port:
        yield Bench(port)


def test_a_new_arm_is_set_up_from_the_gripper_down_and_recognised_afterwards(bench: Bench) -> None:
    bench.plan = [(f"{CONNECT} {name} ", [bench.motors[name]], "") for name in ORDER]
    said = bench.run()
    assert bench.ids() == [1, 2, 3, 4, 5, 6] and not bench.plan
    assert "wrist_roll now has id 5 (was id 1 at 1000000 baud)" in said
    assert "shoulder_pan already has id 1, nothing to do" in said
    assert "chain all motors from the board to shoulder_pan and on to gripper" in said
    assert f"e2hil calibrate --port {bench.port.path}" in said
    bench.plug(*bench.motors.values())
    again = bench.run()
    assert again.count("nothing to do") == 6 and CONNECT not in again


def test_it_is_taken_up_again_where_it_was_stopped(bench: Bench) -> None:
    bench.plan = [("gripper", [bench.motors["gripper"]], "")]
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert bench.ids() == [1, 1, 1, 1, 1, 6]
    assert "not set up" in bench.said and "Go on with: e2hil setup-motors --port" in bench.said
    bench.plan = [(f"{CONNECT} wrist_roll", None, "s"), (f"{CONNECT} wrist_flex", None, "what?")]
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert "gripper already has id 6, nothing to do" in bench.said
    assert "skipped" in bench.said and "'what?' is neither Enter nor s" in bench.said
    assert bench.ids() == [1, 1, 1, 1, 1, 6]


def test_a_new_motor_that_is_plugged_in_already_is_not_taken_for_shoulder_pan(bench: Bench) -> None:
    bench.plug(bench.motors["gripper"])
    bench.plan = [(f"{CONNECT} gripper", None, "")]
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert bench.ids() == [1, 1, 1, 1, 1, 6] and "nothing to do" not in bench.said


def test_after_a_failure_the_same_joint_is_asked_for_again(bench: Bench) -> None:
    motor, other = bench.motors["wrist_flex"], VirtualServo(9)
    strange = VirtualServo(1)
    strange.set("Model_Number", 1284)
    asked = f"{CONNECT} wrist_flex"
    bench.plan = [
        (asked, [], ""),
        (asked, [motor, other], ""),
        (asked, [motor, VirtualServo(1)], ""),
        (asked, [strange], ""),
        (asked, [motor], ""),
    ]
    said = bench.run("wrist_flex")
    assert "Not yet: no motor answers" in said and "Not yet: motors 1, 9 answer" in said
    assert "Not yet: garbled answers" in said and "perhaps two motors with the same id" in said
    assert "Not yet: motor 1 on port" in said and "model 1284" in said
    assert "looking at other speeds..." in said
    assert motor.servo_id == 4 and strange.servo_id == 1 and other.servo_id == 9
    assert "e2hil calibrate" in said and "gripper" not in said.split("Next:")[0]


def test_another_joints_motor_is_only_renumbered_after_a_yes(bench: Bench) -> None:
    motor = VirtualServo(5)
    bench.plan = [(f"{CONNECT} elbow_flex", [motor], ""), ("id 5, that of wrist_roll", None, "")]
    with pytest.raises(KeyboardInterrupt):
        bench.run("elbow_flex")
    assert motor.servo_id == 5 and "Motor 5 was left as it is" in bench.said
    assert "Go on with" in bench.said and "--joint elbow_flex" in bench.said
    bench.plan = [(f"{CONNECT} elbow_flex", [motor], ""), (WRONG, None, "Yes ")]
    bench.run("elbow_flex")
    assert motor.servo_id == 3


def test_motors_with_the_same_id_in_a_chain_are_named_and_not_recognised(bench: Bench) -> None:
    bench.plug(VirtualServo(4), VirtualServo(5), VirtualServo(5))
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert "garbled answers from motor 5" in bench.said
    assert "perhaps two motors with the same id" in bench.said
    assert "wrist_flex already has id 4" in bench.said
    assert "wrist_roll already" not in bench.said


def test_ctrl_c_while_a_motor_is_written_to_waits_until_it_is_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[..., None] = FeetechBus.write

    def interrupted(bus: FeetechBus, servo_id: int, name: str, value: int) -> None:
        write(bus, servo_id, name, value)
        if name == "ID":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(FeetechBus, "write", interrupted)
    motor = bench.motors["gripper"]
    bench.plan = [("gripper", [motor], ""), ("never asked", None, "")]
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert motor.servo_id == 6 and motor.get("Lock") == 1 and len(bench.plan) == 1
    assert "gripper now has id 6" in bench.said


def test_a_pulled_cable_is_told_from_a_port_that_is_not_there(bench: Bench) -> None:
    def pull() -> list[str]:
        bench.port.unplug()
        return bench.poll()

    console = Console(file=bench.screen, width=100)
    bench.plan = [("gripper", None, ""), ("gripper", None, "s")]
    setup_motors(bench.port.path, "gripper", console, pull)
    assert f"Not yet: port {bench.port.path} is lost" in bench.screen.getvalue()
    with pytest.raises(SetupMotorsError, match=f"port {bench.port.path} is lost.*e2hil doctor"):
        bench.run()


def test_the_command_names_what_was_mistyped(bench: Bench) -> None:
    def e2hil(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["setup-motors", *arguments])
        assert result.exit_code == 2
        return result.output

    assert "'wrist_roll', 'gripper'" in e2hil("--port", bench.port.path, "--joint", "wrist")
    assert "port /nowhere is lost" in e2hil("--port", "/nowhere")
