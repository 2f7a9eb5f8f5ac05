"""Supervisor of an arm whose control process has died."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.feetech_arm import ArmSettings, FeetechArm
from envs.hardware.letting_go.letting_go import LettingGo
from envs.hardware.letting_go.supervisor import Life, Orders, Pipe, last_resort, supervise
from envs.hardware.letting_go.supervisor_client import DISMISSAL, Supervision, SupervisorLostError
from envs.virtual.line_faults import FaultRates
from envs.virtual.virtual_port import VirtualPort
from tests.envs.hardware.arm_on_the_bench import (
    IDS,
    calibration,
    follower,
    goals,
    largest_pull,
    registers,
    watch_torque,
)
from tests.patience import MARGIN, stretched, wait_until

pytestmark = pytest.mark.realtime

HOLD, RAMP = 1.0, 1.0

CONTROL = """
import itertools, math, sys
sys.path.insert(0, sys.argv[2])
from tests.envs.hardware.arm_on_the_bench import IDS, calibration
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.feetech_arm import ArmSettings, FeetechArm
from envs.hardware.letting_go.supervisor_client import Supervision
from envs.kinematics import HOME

supervision = Supervision(sys.argv[1], IDS, silence=30, hold=1.0, ramp=1.0)
bus = FeetechBus(sys.argv[1], margin=float(sys.argv[3]))
arm = FeetechArm(bus, calibration(), settings=ArmSettings(control_hz=20), supervision=supervision)
arm.connect()
arm.torque_on()
print(supervision.pid, flush=True)
for step in itertools.count():
    arm.command(HOME + [0.4 * math.sin(step / 10), 0, 0, 0, 0, 0])
"""


@pytest.fixture
def port() -> Iterator[VirtualPort]:
    with VirtualPort(follower()[0]) as port:
        yield port


def energise(port: VirtualPort, *servo_ids: int) -> None:
    port.call(lambda: [port.chain.servo(i).set("Torque_Enable", 1) for i in servo_ids])


def watch_positions(port: VirtualPort) -> list[tuple[float, dict[int, int]]]:
    """Log the servos' positions [ticks] whenever they measure."""
    log: list[tuple[float, dict[int, int]]] = []
    step = port.chain.advance

    def advance(now: float) -> None:
        step(now)
        log.append((now, {s.servo_id: s.get("Present_Position") for s in port.chain.servos}))

    port.call(lambda: setattr(port.chain, "advance", advance))
    return log


def alive(pid: int) -> bool:
    """Return whether a process that is no child of this one runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_after_sigkill_the_arm_is_held_and_then_ramped_down(port: VirtualPort) -> None:
    command = [
        sys.executable,
        "-c",
        CONTROL,
        port.path,
        str(Path(__file__).parents[4]),
        str(MARGIN),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as control:
        assert control.stdout is not None
        supervisor = int(control.stdout.readline())
        time.sleep(1.5)
        log, passed = watch_torque(port), watch_positions(port)
        killed = time.monotonic()
        control.send_signal(signal.SIGKILL)
        control.wait(10)
    wait_until(lambda: registers(port, "Torque_Enable") == [0] * 6)
    wait_until(lambda: not alive(supervisor))
    after = [event for event in goals(port) if event.time > killed - 0.05]
    hold = after[-6:]
    assert {event.servo_id for event in hold} == set(IDS) and largest_pull(after) < 40
    held = hold[0].time
    assert held - killed < stretched(1.0), "the hold comes at once"
    # The arm still moves while its positions are on their way to become its goals.
    since = [places for at, places in passed if killed - 0.05 < at <= held]
    for event in hold:
        assert event.goal in {places[event.servo_id] for places in since}, "held where it was"
    weaker = [(at, limit) for at, limit, torque in log if torque and limit < 1000]
    limits = [limit for _, limit in weaker]
    assert limits == sorted(limits, reverse=True) and limits[-1] == 0
    for (at, limit), (later, lower) in pairwise([(held + HOLD, 1000), *weaker]):
        assert limit - lower < 1000 * (later - at) / RAMP + 200, "evenly, however late it comes"
    assert weaker[0][0] - held == pytest.approx(HOLD, abs=stretched(0.5))
    off = next(at for at, _, torque in log if not torque)
    assert off - held == pytest.approx(HOLD + RAMP, abs=stretched(0.7))


def test_close_dismisses_the_supervisor(port: VirtualPort) -> None:
    supervision = Supervision(port.path, IDS, hold=HOLD, ramp=RAMP)
    assert alive(supervision.pid)
    bus = FeetechBus(port.path, margin=MARGIN)
    settings = ArmSettings(control_hz=20, letting_go=LettingGo(ramp_time=0.2))
    arm = FeetechArm(bus, calibration(), settings=settings, supervision=supervision)
    arm.connect()
    arm.torque_on()
    arm.read()
    arm.close()
    assert not alive(supervision.pid) and registers(port, "Torque_Enable") == [0] * 6


def test_an_arm_that_could_not_be_closed_is_left_to_the_supervisor(port: VirtualPort) -> None:
    """The cable is pulled when the program ends, and comes back later."""
    supervision = Supervision(port.path, IDS, hold=0.1, ramp=0.2)
    bus = FeetechBus(port.path, margin=MARGIN)
    arm = FeetechArm(bus, calibration(), supervision=supervision)
    arm.connect()
    arm.torque_on()
    port.unplug()
    with pytest.raises(RuntimeError, match=port.path):
        arm.close()
    time.sleep(0.5)
    assert registers(port, "Torque_Enable") == [1] * 6
    port.plug()
    wait_until(lambda: registers(port, "Torque_Enable") == [0] * 6)
    wait_until(lambda: not alive(supervision.pid))
    assert largest_pull(goals(port)) <= 2


def test_signals_to_the_session_do_not_end_the_supervisor(port: VirtualPort) -> None:
    supervision = Supervision(port.path, IDS, hold=HOLD, ramp=RAMP)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(supervision.pid, each)
    time.sleep(0.3)
    supervision.beat()
    assert alive(supervision.pid) and os.getpgid(supervision.pid) != os.getpgid(0)
    supervision.close(released=True)
    assert not alive(supervision.pid)


def test_losing_the_supervisor_raises(port: VirtualPort) -> None:
    supervision = Supervision(port.path, IDS)
    bus = FeetechBus(port.path, margin=MARGIN)
    settings = ArmSettings(letting_go=LettingGo(ramp_time=0.2))
    arm = FeetechArm(bus, calibration(), settings=settings, supervision=supervision)
    arm.connect()
    arm.torque_on()
    os.kill(supervision.pid, signal.SIGKILL)
    with pytest.raises(SupervisorLostError, match=port.path):
        for _ in range(200):
            arm.read()
            time.sleep(0.02)
    arm.close()
    assert registers(port, "Torque_Enable") == [0] * 6


@pytest.fixture
def pipe() -> Iterator[tuple[Pipe, int]]:
    reader, writer = os.pipe()
    yield Pipe(reader), writer
    os.close(reader)


def orders(port: VirtualPort, **others: float) -> Orders:
    times = {"silence": 0.2, "hold": 0.1, "ramp": 0.2, "patience": 0.5, **others}
    return Orders(port.path, 1_000_000, IDS, **times)


def test_the_pipe_tells_alive_silent_dismissed_and_ended_apart(pipe: tuple[Pipe, int]) -> None:
    listener, writer = pipe
    assert listener.listen(0.01) is Life.SILENT
    os.write(writer, b"..")
    assert listener.listen(0.01) is Life.ALIVE
    os.write(writer, b"." + DISMISSAL)
    assert listener.listen(0.01) is Life.DISMISSED
    os.close(writer)
    assert listener.listen(0.01) is Life.ENDED


def test_a_silent_process_keeps_its_arm_while_it_has_the_port(
    port: VirtualPort, pipe: tuple[Pipe, int]
) -> None:
    listener, writer = pipe
    energise(port, *IDS)
    with FeetechBus(port.path, margin=MARGIN):
        child = os.fork()
        if child == 0:  # writes a dismissal after a long silence
            time.sleep(1.5)
            os.write(writer, DISMISSAL)
            os._exit(0)
        assert supervise(orders(port), listener)
        os.waitpid(child, 0)
    assert registers(port, "Torque_Enable") == [1] * 6 and goals(port) == []
    os.close(writer)


def test_silence_with_a_free_port_releases_the_arm(
    port: VirtualPort, pipe: tuple[Pipe, int]
) -> None:
    energise(port, *IDS)
    assert supervise(orders(port), pipe[0])
    assert registers(port, "Torque_Enable") == [0] * 6
    os.close(pipe[1])


def test_patience_with_a_missing_port_ends(
    port: VirtualPort, pipe: tuple[Pipe, int], caplog: pytest.LogCaptureFixture
) -> None:
    os.close(pipe[1])
    port.unplug()
    start = time.monotonic()
    assert not supervise(orders(port), pipe[0])
    assert 0.5 <= time.monotonic() - start < stretched(2.0)
    assert "the arm may still be energised" in caplog.text


def test_a_port_without_motors_is_given_up_soon(
    port: VirtualPort, pipe: tuple[Pipe, int], caplog: pytest.LogCaptureFixture
) -> None:
    """The port may be another device's by now, or the motors are without power."""
    os.close(pipe[1])
    port.disturb(FaultRates(unheard=1.0))
    start = time.monotonic()
    assert not supervise(orders(port, patience=60.0, silent_port=1.0), pipe[0])
    assert 1.0 <= time.monotonic() - start < stretched(5.0)
    assert "nothing that could be let go of is heard there" in caplog.text


def test_only_energised_motors_are_released_and_silent_ones_skipped(port: VirtualPort) -> None:
    energise(port, 2, 3, 5)
    port.call(lambda: [servo.set("Goal_Position", 1000) for servo in port.chain.servos[:1]])
    port.call(lambda: port.chain.servo(5).set("ID", 50))
    with FeetechBus(port.path, margin=MARGIN) as bus:
        last_resort(orders(port), bus)
        assert registers(port, "Torque_Enable") == [0, 0, 0, 0, 1, 0]
        assert {event.servo_id for event in goals(port, torque=None)} == {2, 3}
        last_resort(orders(port), bus)
    assert len(goals(port, torque=None)) == 2, "nothing is energised any more"


def test_the_supervisor_starts_without_the_arm_model() -> None:
    """The last resort must not depend on what may have failed."""
    code = "import sys, envs.hardware.letting_go.supervisor; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
