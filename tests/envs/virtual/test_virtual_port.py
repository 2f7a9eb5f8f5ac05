"""Virtual servos behind their port: time, cables and a clean end."""

import threading
import time
from pathlib import Path

import pytest
import serial

from envs.hardware.bus.packets import pack
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import NoAnswerError, PortLostError
from envs.virtual.line_faults import FaultRates, FaultyLine
from envs.virtual.plant import KinematicPlant
from envs.virtual.virtual_chain import VirtualChain
from envs.virtual.virtual_port import VirtualPort
from tests.patience import stretched

pytestmark = pytest.mark.realtime

SIX = tuple(range(1, 7))


def settle(bus: FeetechBus, servo_id: int, goal: int, seconds: float = 3.0) -> int:
    """Wait until a servo is near a goal, and return its position."""
    end = time.monotonic() + stretched(seconds)
    while time.monotonic() < end:
        position = bus.read(servo_id, "Present_Position")
        if abs(position - goal) <= 2:
            break
    return position


def test_servos_reach_their_goals_at_their_own_speed(bus: FeetechBus) -> None:
    bus.sync_write("Torque_Enable", dict.fromkeys(SIX, 1))
    start = time.monotonic()
    bus.sync_write("Goal_Position", {1: 3070, 6: 1000})
    assert settle(bus, 1, 3070) == pytest.approx(3070, abs=2)
    assert time.monotonic() - start > 0.9 * 1023 / 4096 * 2 * 3.14159 / 4.7, "45 rpm at most"
    assert settle(bus, 6, 1000) == pytest.approx(1000, abs=2)
    assert bus.read(2, "Present_Position") == 2047


def test_a_stalled_motor_overloads(
    bus: FeetechBus, port: VirtualPort, plant: KinematicPlant
) -> None:
    bus.write(6, "Torque_Enable", 0)
    bus.write(6, "Protection_Time", 10)
    bus.write(6, "Torque_Enable", 1)
    port.call(lambda: plant.block(5))
    bus.write(6, "Goal_Position", 3000)
    time.sleep(0.05)
    reading = bus.read_telemetry([6])
    assert reading.loads[0] == 1.0 and reading.faults == ((),)
    time.sleep(0.15)
    reading = bus.read_telemetry([6])
    assert reading.faults == (("overload",),)
    assert reading.loads[0] == pytest.approx(0.2), "Protective_Torque"


def test_goals_are_logged_in_order(bus: FeetechBus, port: VirtualPort) -> None:
    bus.sync_write("Goal_Position", {1: 2000, 2: 2100})
    bus.write(1, "Torque_Enable", 1)
    events = port.call(lambda: list(port.chain.goals))
    assert [(e.servo_id, e.goal, e.torque) for e in events] == [
        (1, 2000, False),
        (2, 2100, False),
        (1, 2000, True),
    ]
    assert events[0].time <= events[2].time <= time.monotonic()


def test_servos_keep_their_goals_when_the_cable_is_pulled(
    bus: FeetechBus, port: VirtualPort
) -> None:
    bus.write(1, "Torque_Enable", 1)
    bus.write(1, "Goal_Position", 2600)
    port.unplug()
    port.unplug()
    time.sleep(0.4)
    assert port.call(lambda: port.chain.servo(1).get("Present_Position")) == pytest.approx(
        2600, abs=2
    )
    port.plug()
    port.plug()
    bus.reopen()
    assert bus.read(1, "Torque_Enable") == 1


def test_the_id_of_a_servo_can_be_changed(bus: FeetechBus) -> None:
    bus.write(6, "Torque_Enable", 0)
    bus.write(6, "ID", 60)
    assert bus.ping(60) == 777
    with pytest.raises(NoAnswerError):
        bus.ping(6)


def test_answers_take_their_wire_time() -> None:
    chain = VirtualChain(SIX, KinematicPlant([0.0] * 6))
    chain.servo(3).set("Return_Delay_Time", 250)
    with VirtualPort(chain, baudrate=19_200) as port, FeetechBus(port.path, 19_200) as bus:
        start = time.monotonic()
        bus.sync_read("Present_Position", SIX)
        assert time.monotonic() - start >= 62 * 10 / 19_200 + 250 * 2e-6
        assert bus.counters.retries == 0, "the bus waits as long as the bytes take"


def test_hosts_come_and_go(port: VirtualPort) -> None:
    for _ in range(3):
        with FeetechBus(port.path) as bus:
            assert bus.read(1, "Present_Position") == 2047


def test_a_flood_that_nobody_reads_does_not_stop_the_servos(port: VirtualPort) -> None:
    with serial.Serial(port.path, 1_000_000, write_timeout=2) as raw:
        for _ in range(2000):
            raw.write(pack(1, 2, bytes((56, 15))))
        raw.write(b"\xff\xff\xff\x00" * 1000)
    with FeetechBus(port.path) as bus:
        assert bus.read(1, "Present_Position") == 2047


def test_close_leaves_no_thread_and_no_file() -> None:
    threads = threading.active_count()
    port = VirtualPort(VirtualChain([1], KinematicPlant([0.0])))
    folder = Path(port.path).parent
    port.close()
    port.close()
    assert not folder.exists() and threading.active_count() == threads
    with pytest.raises(RuntimeError, match="is closed"):
        port.plug()


def test_an_error_in_call_reaches_the_caller(port: VirtualPort) -> None:
    with pytest.raises(KeyError, match="no virtual servo has id 99"):
        port.call(lambda: port.chain.servo(99))
    assert port.call(lambda: 5) == 5


def test_a_failing_plant_closes_the_port(
    bus: FeetechBus,
    port: VirtualPort,
    plant: KinematicPlant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explode(*_: object) -> None:
        raise ValueError("the arm exploded")

    monkeypatch.setattr(plant, "step", explode)
    with pytest.raises(PortLostError):
        for _ in range(100):
            bus.read(1, "Present_Position")
            time.sleep(0.01)
    port._thread.join(timeout=5)
    with pytest.raises(RuntimeError, match=r"the servos behind .* failed") as caught:
        port.plug()
    assert str(caught.value.__cause__) == "the arm exploded"


def test_faults_have_their_rates_and_repeat_with_the_seed() -> None:
    rates = FaultRates(lost=0.1, late=0.2, truncated=0.15, corrupted=0.25, delay=0.05)
    whole = pack(1, 0, bytes(15))
    lines = FaultyLine(rates, seed=3), FaultyLine(rates, seed=3)
    seen = [lines[0].pass_on(whole) for _ in range(4000)]
    assert seen == [lines[1].pass_on(whole) for _ in range(4000)]
    late = sum(delay == 0.05 for delay, _ in seen)
    truncated = sum(len(data) < len(whole) for _, data in seen)
    corrupted = sum(len(data) == len(whole) and data != whole for _, data in seen)
    assert late == pytest.approx(800, rel=0.15)
    assert truncated == pytest.approx(1000, rel=0.15), "lost or truncated"
    assert corrupted == pytest.approx(1000, rel=0.15)
    with pytest.raises(ValueError, match="at most 1 together"):
        FaultRates(lost=0.6, late=0.6)
