"""Safe release of an arm, however the program that holds it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import NoAnswerError, PortLostError
from envs.hardware.feetech_arm import ArmSettings, FeetechArm
from envs.hardware.letting_go.letting_go import (
    LettingGo,
    NotArrivedError,
    Released,
    SafeShutdown,
    let_go,
)
from envs.kinematics import HOME, Kinematics
from envs.virtual.virtual_port import VirtualPort
from tests.envs.hardware.arm_on_the_bench import (
    calibration,
    follower,
    goals,
    largest_pull,
    registers,
    watch_torque,
)
from tests.patience import MARGIN, stretched

pytestmark = pytest.mark.realtime


class Recorder:
    """Arm that records the calls, some of which fail."""

    def __init__(self, **failures: Exception):
        self.calls: list[str] = []
        self._failures = failures

    def _do(self, name: str) -> None:
        self.calls.append(name)
        if name in self._failures:
            raise self._failures[name]

    def hold(self) -> None:
        self._do("hold")

    def move(self, joint_positions: np.ndarray) -> None:
        self._do("move")

    def ramp_down(self, seconds: float) -> None:
        self._do("ramp_down")

    def release(self) -> None:
        self._do("release")

    def close(self) -> None:
        self._do("close")


REST = LettingGo("rest", rest=tuple(HOME))
SILENT = NoAnswerError("port", (1,), "PING", 3)


@pytest.mark.parametrize(
    ("how", "failures", "expected"),
    [
        (LettingGo(), {}, "hold ramp_down release"),
        (REST, {}, "hold move ramp_down release"),
        (LettingGo("release"), {}, "release"),
        (REST, {"move": NotArrivedError("blocked")}, "hold move ramp_down release"),
        (REST, {"hold": SILENT}, "hold ramp_down release"),
        (LettingGo(), {"ramp_down": SILENT}, "hold ramp_down release"),
    ],
)
def test_release_holds_then_ramps_down_then_switches_off(
    how: LettingGo, failures: dict[str, Exception], expected: str
) -> None:
    arm = Recorder(**failures)
    let_go(arm, how)
    assert arm.calls == expected.split()


@pytest.mark.parametrize("step", ["hold", "move", "ramp_down", "release"])
def test_a_lost_port_raises_instead_of_releasing(step: str) -> None:
    arm = Recorder(**{step: PortLostError("/dev/arm", "unplugged")})
    with pytest.raises(PortLostError, match="/dev/arm"):
        let_go(arm, REST)
    assert arm.calls[-1] == step


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"letting_go\.way must be one of"):
        LettingGo("drop")
    with pytest.raises(ValueError, match=r"letting_go\.ramp_time must be a number from 0\.1 to 30"):
        LettingGo(ramp_time=0)
    with pytest.raises(ValueError, match="give joint angles for the way 'rest'"):
        LettingGo("rest")
    with pytest.raises(ValueError, match="give joint angles for the way 'rest'"):
        LettingGo("ramp", rest=tuple(HOME))
    with pytest.raises(ValueError, match="6 angles in rad"):
        LettingGo("rest", rest=(0.0, float("nan"), 0, 0, 0, 0))


@pytest.fixture
def port() -> Iterator[VirtualPort]:
    with VirtualPort(follower()[0]) as port:
        yield port


def connected(port: VirtualPort, how: LettingGo) -> FeetechArm:
    arm = FeetechArm(
        FeetechBus(port.path, margin=MARGIN),
        calibration(),
        settings=ArmSettings(control_hz=20, letting_go=how),
    )
    arm.connect()
    arm.torque_on()
    return arm


def test_close_lowers_the_torque_evenly_before_switching_it_off(port: VirtualPort) -> None:
    arm = connected(port, LettingGo(ramp_time=1.0))
    log = watch_torque(port)
    arm.close()
    arm.close()
    limits = [limit for _, limit, torque in log if torque]
    assert limits[0] == 1000 and limits[-1] == 0 and limits == sorted(limits, reverse=True)
    assert max(before - after for before, after in pairwise(limits)) < 300, "no step"
    off = next(at for at, _, torque in log if not torque)
    assert off - log[0][0] == pytest.approx(1.0, abs=stretched(0.4))
    assert registers(port, "Torque_Enable") == [0] * 6
    assert registers(port, "Torque_Limit") == [1000] * 5 + [500], "strong for who comes next"
    with FeetechBus(port.path, margin=MARGIN) as bus:
        bus.ping(1)  # the port is free again


def test_an_arm_in_motion_stops_before_its_release(port: VirtualPort) -> None:
    arm = connected(port, LettingGo(ramp_time=0.2))
    for _ in range(12):
        arm.command(HOME + np.eye(6)[0] * 0.8)
    before = len(goals(port))
    arm.close()
    last = goals(port)[before:]
    assert len(last) == 6 and largest_pull(last) <= 10, "the hold, where the arm is by then"


def test_rest_is_reached_slowly(port: VirtualPort) -> None:
    rest = HOME + np.eye(6)[0] * 0.2
    arm = connected(port, LettingGo("rest", rest=tuple(rest), ramp_time=0.2))
    arm.close()
    pan = [event for event in goals(port) if event.servo_id == 1]
    assert abs(pan[-1].goal - 2047 - 0.2 * 4096 / 6.283) < 2 and len(pan) > 10
    assert registers(port, "Torque_Enable") == [0] * 6


def test_an_unreachable_rest_still_releases_the_arm(
    port: VirtualPort, caplog: pytest.LogCaptureFixture
) -> None:
    arm = connected(port, LettingGo("rest", rest=(0, 0.2, 0.8, 1.1, 0, 0), ramp_time=0.2))
    arm.close()
    assert "the arm is let go of where it is: shoulder_lift stays" in caplog.text
    goal = calibration().to_radians(registers(port, "Goal_Position"))
    assert Kinematics().forward(goal)[2] > 0
    assert registers(port, "Torque_Enable") == [0] * 6


def test_close_with_a_pulled_cable_names_the_port(port: VirtualPort) -> None:
    arm = connected(port, LettingGo())
    port.unplug()
    with pytest.raises(PortLostError, match=port.path):
        arm.close()
    assert registers(port, "Torque_Enable") == [1] * 6


def test_an_exception_closes_the_arm_and_propagates() -> None:
    arm = Recorder()
    with pytest.raises(ZeroDivisionError), SafeShutdown(arm):
        raise ZeroDivisionError
    assert arm.calls == ["close"]


@pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Released), (signal.SIGHUP, Released)],
)
def test_signals_close_the_arm_and_their_handlers_are_restored(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    before = signal.getsignal(number)
    arm = Recorder()
    with pytest.raises(raised), SafeShutdown(arm):
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert arm.calls == ["close"] and signal.getsignal(number) is before


def test_a_second_signal_does_not_interrupt_the_release() -> None:
    finished = []

    class Slow(Recorder):
        def close(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            finished.append(True)

    with SafeShutdown(Slow()):
        pass
    assert finished == [True]


PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[2])
from tests.envs.hardware.arm_on_the_bench import calibration
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.feetech_arm import ArmSettings, FeetechArm
from envs.hardware.letting_go.letting_go import SafeShutdown, LettingGo
from envs.kinematics import HOME

settings = ArmSettings(control_hz=20, letting_go=LettingGo(ramp_time=0.5))
bus = FeetechBus(sys.argv[1], margin=float(sys.argv[4]))
arm = FeetechArm(bus, calibration(), settings=settings)
SafeShutdown(arm).install()
arm.connect()
arm.torque_on()
print("holding", flush=True)
if sys.argv[3] == "raise":
    raise RuntimeError("a bug")
while sys.argv[3] != "end":
    arm.command(HOME)
"""


@pytest.mark.parametrize(
    ("ending", "status"),
    [("end", 0), ("raise", 1), ("SIGTERM", 128 + signal.SIGTERM), ("SIGINT", -signal.SIGINT)],
)
def test_a_program_never_ends_with_its_arm_energised(
    port: VirtualPort, ending: str, status: int
) -> None:
    arguments = [port.path, str(Path(__file__).parents[4]), ending, str(MARGIN)]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"holding\n"
        if ending.startswith("SIG"):
            time.sleep(0.2)
            program.send_signal(signal.Signals[ending])
        program.communicate(timeout=stretched(60))
    assert program.returncode == status
    assert registers(port, "Torque_Enable") == [0] * 6
