"""Host's side of the bus, with virtual servos and with faulty lines."""

import os
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from envs.hardware.bus import packets
from envs.hardware.bus.packets import BROADCAST_ID, PacketParser
from envs.hardware.bus.registers import RegisterRangeError, UnknownRegisterError
from envs.hardware.bus.serial_line import SerialLine
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import NoAnswerError, PortLostError, ServoFaultError
from envs.virtual.line_faults import FaultRates
from envs.virtual.plant import KinematicPlant
from envs.virtual.virtual_port import VirtualPort
from tests.patience import MARGIN, stretched

pytestmark = pytest.mark.realtime

IDS = tuple(range(1, 7))
LATE = 1.4 * MARGIN
"""Later than the margin of the bus [s], and before it has waited for silence."""


@contextmanager
def scripted(*replies: Callable[[bytes], bytes]) -> Iterator[FeetechBus]:
    """Yield a bus whose line answers each question with the next reply, then stays silent."""
    host, device = os.openpty()
    tty.setraw(device)

    def serve() -> None:
        parser = PacketParser(highest_id=BROADCAST_ID)
        left = list(replies)
        while left:
            for packet in parser.feed(os.read(host, 4096)):
                question = packets.pack(packet.servo_id, packet.code, packet.payload)
                os.write(host, left.pop(0)(question))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with FeetechBus(os.ttyname(device), margin=MARGIN) as bus:
        yield bus
    thread.join(timeout=stretched(5.0))
    os.close(host)
    os.close(device)


def answer(servo_id: int, value: int, size: int = 2, error: int = 0) -> bytes:
    return packets.pack(servo_id, error, value.to_bytes(size, "little"))


def test_registers_are_written_and_read(bus: FeetechBus) -> None:
    bus.write(3, "Homing_Offset", 0)
    bus.write(3, "Goal_Position", 1234)
    assert bus.read(3, "Goal_Position") == 1234
    bus.sync_write("Goal_Position", {2: 2000, 5: 3000})
    assert bus.sync_read("Goal_Position", [5, 3, 2]) == {5: 3000, 3: 1234, 2: 2000}
    assert bus.counters.retries == bus.counters.bad_packets == bus.counters.lost_packets == 0


def test_ping_and_broadcast_ping_find_the_servos(bus: FeetechBus) -> None:
    assert bus.ping(4) == 777
    assert bus.broadcast_ping() == list(IDS)
    with pytest.raises(NoAnswerError, match=r"motor 9 on port .* to PING in 3 attempts") as caught:
        bus.ping(9)
    assert caught.value.servo_ids == (9,) and caught.value.port == bus.port
    assert bus.counters.lost_packets == 3


def test_telemetry_is_in_si_units(
    bus: FeetechBus, port: VirtualPort, plant: KinematicPlant
) -> None:
    port.call(lambda: plant.move(0, np.pi / 2))
    port.call(lambda: plant.block(1))
    port.call(lambda: port.chain.servo(3).set("Phase", 12 | 0x20))
    port.call(lambda: plant.block(2))
    port.call(lambda: port.chain.servo(4).set("Present_Temperature", 51))
    port.call(lambda: port.chain.servo(5).set("Present_Voltage", 74))
    bus.sync_write("Goal_Position", {2: 3000, 3: 1000, 6: 2047})
    bus.sync_write("Torque_Enable", {2: 1, 3: 1, 6: 1})
    time.sleep(0.05)
    telemetry = bus.read_telemetry(IDS)
    assert telemetry.servo_ids == IDS
    assert telemetry.position_ticks[0] == 2047 + 1024
    np.testing.assert_allclose(telemetry.positions[0], 3071 * 2 * np.pi / 4096)
    np.testing.assert_allclose(telemetry.loads[:3], [0, 1, -1])
    np.testing.assert_allclose(telemetry.currents[:3], [0, 2.7, 0], atol=0.004)
    assert telemetry.has_current.tolist() == [True, True, False, True, True, True]
    assert telemetry.temperatures.tolist() == [30, 30, 30, 51, 30, 30]
    np.testing.assert_allclose(telemetry.voltages, [12, 12, 12, 12, 7.4, 12])
    assert telemetry.faults == ((),) * 6


def test_phase_selects_the_unit_of_velocity(
    bus: FeetechBus, port: VirtualPort, plant: KinematicPlant
) -> None:
    """A servo on its way at about 2 rad/s says so, fine (0.0146 rpm) and coarse (0.732 rpm)."""
    port.call(lambda: port.chain.servo(2).set("Phase", 0))
    port.call(lambda: plant.move(0, -2.0))
    port.call(lambda: plant.move(1, -2.0))
    bus.sync_write("Goal_Velocity", {1: 1308, 2: 26})
    bus.sync_write("Goal_Position", {1: 3300, 2: 3300})
    bus.sync_write("Torque_Enable", {1: 1, 2: 1})
    time.sleep(0.3)
    telemetry = bus.read_telemetry([1, 2])
    np.testing.assert_allclose(telemetry.velocities, 2.0, atol=0.1)
    assert telemetry.moving.all()
    assert abs(telemetry.registers[0]["Present_Velocity"]) > 1000
    assert abs(telemetry.registers[1]["Present_Velocity"]) < 30


def test_a_changed_phase_is_read_again(bus: FeetechBus) -> None:
    assert bus.read_telemetry([1]).has_current.all()
    bus.write(1, "Torque_Enable", 0)
    bus.write(1, "Phase", 12 | 0x20)
    assert not bus.read_telemetry([1]).has_current.any()


def test_servo_errors_are_raised_by_name_and_motor(bus: FeetechBus, port: VirtualPort) -> None:
    port.call(lambda: port.chain.servo(2).set("Present_Temperature", 75))
    port.call(lambda: setattr(port.chain.servo(5), "injected_error", 1 | 2 | 8 | 32))
    expected = "motor 2: overheat; motor 5: voltage, angle sensor, over-current, overload"
    with pytest.raises(ServoFaultError, match=expected) as caught:
        bus.sync_read("Present_Position", IDS)
    assert caught.value.faults[2] == ("overheat",)
    assert caught.value.values == dict.fromkeys(IDS, 2047), "the values are not lost"
    with pytest.raises(ServoFaultError, match="motor 2: overheat"):
        bus.write(2, "Goal_Position", 1000)
    assert port.call(lambda: port.chain.servo(2).get("Goal_Position")) == 1000
    assert bus.ping(2) == 777
    faults = bus.read_telemetry(IDS).faults
    assert faults[1] == ("overheat",) and len(faults[4]) == 4 and faults[0] == ()


def test_invalid_requests_are_refused_before_anything_is_sent(bus: FeetechBus) -> None:
    with pytest.raises(UnknownRegisterError, match="Goal_Position"):
        bus.read(1, "Goal_Pos")
    with pytest.raises(RegisterRangeError, match="Homing_Offset"):
        bus.write(1, "Homing_Offset", 2048)
    with pytest.raises(ValueError, match=r"Present_Load .* is set by the servo alone"):
        bus.sync_write("Present_Load", {1: 0})
    with pytest.raises(ValueError, match=r"motor ids \[254\]"):
        bus.write(BROADCAST_ID, "Torque_Enable", 1)
    with pytest.raises(ValueError, match="different motor ids"):
        bus.read_telemetry([])
    assert bus.counters.transactions == 0


@pytest.mark.parametrize("kind", ["lost", "late", "truncated", "corrupted"])
def test_a_bad_cable_costs_retries_but_no_answer_is_lost_or_wrong(
    kind: str, bus: FeetechBus, port: VirtualPort
) -> None:
    for servo_id in IDS:
        bus.write(servo_id, "Goal_Position", 1000 + servo_id)
    port.disturb(FaultRates(**{kind: 0.1}, delay=LATE), seed=1)
    for _ in range(15):
        goals = bus.sync_read("Goal_Position", IDS)
        assert goals == {servo_id: 1000 + servo_id for servo_id in IDS}
        assert bus.read(1, "Torque_Enable") == 0, "no late answer of another question"
    assert bus.counters.retries > 0
    broken = kind in ("truncated", "corrupted")
    assert (bus.counters.bad_packets if broken else bus.counters.lost_packets) > 0
    if kind == "late":
        assert bus.counters.discarded_bytes > 0


def test_a_silent_motor_is_named_in_bounded_time(bus: FeetechBus, port: VirtualPort) -> None:
    port.call(lambda: port.chain.servo(4).set("ID", 14))
    start = time.monotonic()
    with pytest.raises(NoAnswerError, match=r"motor 4 on port .* READ Present_Position"):
        bus.sync_read("Present_Position", IDS)
    assert time.monotonic() - start < stretched(0.6)
    port.call(lambda: port.chain.servo(1).set("Response_Status_Level", 0))
    with pytest.raises(NoAnswerError, match=r"WRITE Goal_Position = 5.*Response_Status_Level"):
        bus.write(1, "Goal_Position", 5)


def test_a_late_answer_does_not_answer_the_next_question(
    bus: FeetechBus, port: VirtualPort
) -> None:
    """Same motor, same length, another register: the protocol cannot tell them apart."""
    port.disturb(FaultRates(late=1.0, delay=LATE))
    with pytest.raises(NoAnswerError):
        bus.read(1, "Min_Voltage_Limit")
    port.disturb(FaultRates())
    assert bus.read(1, "Max_Voltage_Limit") == 140


def test_bytes_received_before_the_question_are_no_answer() -> None:
    host, device = os.openpty()
    tty.setraw(device)
    with FeetechBus(os.ttyname(device), retries=0) as bus:
        os.write(host, answer(1, 1234))
        time.sleep(0.02)
        with pytest.raises(NoAnswerError):
            bus.read(1, "Present_Position")
        assert bus.counters.discarded_bytes == 8
    os.close(host)
    os.close(device)


def test_after_an_interrupted_question_the_bus_waits_for_silence(
    bus: FeetechBus, port: VirtualPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a read: its answer is under way when the torque is to be switched off."""
    port.disturb(FaultRates(late=1.0, delay=0.03))
    with monkeypatch.context() as patch:
        patch.setattr(SerialLine, "receive", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            bus.read(1, "Min_Voltage_Limit")
    port.disturb(FaultRates())
    assert bus.read(1, "Max_Voltage_Limit") == 140
    assert bus.counters.discarded_bytes == 7


def test_answers_of_other_motors_or_lengths_are_ignored() -> None:
    with scripted(
        lambda _: answer(2, 7) + answer(1, 7, size=1) + b"\xff\x00\xff" + answer(1, 1500)
    ) as bus:
        assert bus.read(1, "Present_Position") == 1500
        assert bus.counters.bad_packets == 2
        assert bus.counters.discarded_bytes == 7 + 3
        assert bus.counters.retries == 0


def test_echoes_of_the_adapter_are_ignored() -> None:
    """The echo of a two-byte READ has the form of an answer, the echo of a PING is one."""
    acknowledged = packets.pack(1, 0)
    with scripted(
        lambda question: question + answer(1, 1500),
        lambda question: b"\x00" + question + answer(1, 1501),
        lambda question: question + acknowledged,
        lambda question: question + answer(1, 11) + answer(2, 12),
        lambda question: question + acknowledged,
        lambda question: question + answer(1, 777),
    ) as bus:
        assert bus.read(1, "Present_Position") == 1500
        assert bus.read(1, "Present_Position") == 1501
        bus.write(1, "Goal_Position", 1000)
        assert bus.sync_read("Present_Position", [1, 2]) == {1: 11, 2: 12}
        assert bus.ping(1) == 777
        assert bus.counters.retries == 0 and bus.counters.echoes == 5


def test_an_echo_alone_is_no_motor() -> None:
    with scripted(*[lambda question: question] * 4) as bus, pytest.raises(NoAnswerError):
        bus.ping(1)


def test_endless_garbage_ends_in_an_error() -> None:
    host, device = os.openpty()
    tty.setraw(device)
    os.set_blocking(host, False)
    stop = threading.Event()

    def babble() -> None:
        while not stop.wait(0.0005):
            try:
                os.write(host, b"\xff\xff\x01\x04\x00")
            except BlockingIOError:
                continue

    thread = threading.Thread(target=babble)
    thread.start()
    start = time.monotonic()
    with FeetechBus(os.ttyname(device)) as bus, pytest.raises(NoAnswerError):
        bus.read(1, "Present_Position")
    assert time.monotonic() - start < stretched(1.0)
    stop.set()
    thread.join()
    os.close(host)
    os.close(device)


def test_a_pulled_cable_raises_at_once_and_can_be_reopened(
    bus: FeetechBus, port: VirtualPort
) -> None:
    bus.read(1, "Present_Position")
    port.unplug()
    for _ in range(2):
        with pytest.raises(PortLostError, match=f"port {port.path} is lost"):
            bus.read(1, "Present_Position")
    with pytest.raises(PortLostError):
        bus.sync_write("Goal_Position", {1: 0})
    with pytest.raises(PortLostError, match="No such file"):
        bus.reopen()
    port.plug()
    bus.reopen()
    assert bus.read(1, "Present_Position") == 2047


def test_a_cable_pulled_during_a_question_raises() -> None:
    host, device = os.openpty()
    tty.setraw(device)

    def pull() -> None:
        os.read(host, 64)
        os.close(host)
        os.close(device)

    thread = threading.Thread(target=pull)
    bus = FeetechBus(os.ttyname(device))
    thread.start()
    with pytest.raises(PortLostError):
        bus.read(1, "Present_Position")
    thread.join()


def test_a_missing_taken_or_closed_port_raises(bus: FeetechBus, port: VirtualPort) -> None:
    with pytest.raises(PortLostError, match=r"port nowhere/tty is lost .*No such file.*USB cable"):
        FeetechBus("nowhere/tty")
    with pytest.raises(PortLostError, match="no other program uses the port"):
        FeetechBus(port.path)
    bus.close()
    with pytest.raises(PortLostError, match="it is closed"):
        bus.ping(1)
    FeetechBus(port.path).close()


def test_threads_do_not_mix_up_their_answers(bus: FeetechBus, port: VirtualPort) -> None:
    for servo_id in IDS:
        bus.write(servo_id, "Goal_Position", 100 * servo_id)
    wrong = []

    def work(servo_id: int) -> None:
        for _ in range(40):
            value = bus.read(servo_id, "Goal_Position")
            if value != 100 * servo_id:
                wrong.append((servo_id, value))

    threads = [threading.Thread(target=work, args=(servo_id,)) for servo_id in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert wrong == [] and bus.counters.bad_packets == 0
    assert bus.counters.transactions == 6 + 4 * 40
