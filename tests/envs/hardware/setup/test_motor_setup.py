"""Motor setup with virtual servos that hear only one baud rate."""

from __future__ import annotations

import fcntl
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from envs.hardware.bus import packets
from envs.hardware.bus import servo_bus as bus_module
from envs.hardware.bus.packets import Packet
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import PortLostError
from envs.hardware.setup import motor_setup
from envs.hardware.setup.motor_setup import (
    ARM_BAUDRATE,
    OTHER_BAUDRATES,
    FoundMotor,
    MotorSetupError,
    OpenBus,
    already_set,
    assign_id,
    find_motor,
)
from envs.virtual.line_faults import FaultRates
from envs.virtual.plant import KinematicPlant
from envs.virtual.virtual_chain import Answer, VirtualChain
from envs.virtual.virtual_port import VirtualPort
from envs.virtual.virtual_servo import VirtualServo

pytestmark = pytest.mark.realtime

RATES = {0: 1_000_000, 1: 500_000, 2: 250_000, 3: 128_000, 4: 115_200, 6: 38_400, 7: 19_200}
FACTORY = FoundMotor(1, ARM_BAUDRATE)


class Line(VirtualChain):
    """Servos on a line with its real faults.

    A servo hears its own rate only, may confirm its new id or rate too early for the host, and
    servos that speak at the same moment pull the line down together.
    """

    def __init__(self, *servo_ids: int) -> None:
        super().__init__(servo_ids, KinematicPlant([0.0] * 6))
        self.rates = RATES | {5: 57_600}
        self.rate: Callable[[], int] = lambda: ARM_BAUDRATE
        self.confirms = False
        self.echoes = False
        self.collide = False
        self.noise: list[bytes] = []

    def handle(self, instruction: Packet) -> list[Answer]:
        everyone, rate = self.servos, self.rate()
        self.servos = [servo for servo in everyone if self.rates[servo.get("Baud_Rate")] == rate]
        before = settings(self.servos)
        answers = super().handle(instruction)
        if settings(self.servos) != before and not self.confirms:
            answers = []
        self.servos = everyone
        if self.collide and len(answers) > 1:
            both = zip(*(answer.data for answer in answers), strict=True)
            answers = [Answer(0.0, bytes(one & other for one, other in both))]
        if self.echoes:
            sent = packets.pack(instruction.servo_id, instruction.code, instruction.payload)
            answers.insert(0, Answer(0.0, sent))
        return answers + ([Answer(0.0, self.noise.pop())] if self.noise else [])


def settings(servos: list[VirtualServo]) -> list[tuple[int, int]]:
    return [(servo.servo_id, servo.get("Baud_Rate")) for servo in servos]


def rate_of(descriptor: int) -> int:
    """Return the rate that a host has set; only Linux tells odd rates."""
    if sys.platform != "linux":
        return ARM_BAUDRATE
    termios2 = struct.Struct("4I20B2I")
    held = fcntl.ioctl(descriptor, 0x802C542A, bytes(termios2.size))  # TCGETS2
    return int(termios2.unpack(held)[-1])


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "BROADCAST_PING_WINDOW", 0.1)


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Line, VirtualPort, OpenBus]]]:
    ports: list[VirtualPort] = []

    def serve(*servo_ids: int) -> tuple[Line, VirtualPort, OpenBus]:
        line = Line(*servo_ids)
        ports.append(port := VirtualPort(line))
        line.rate = lambda: rate_of(port._device or 0)
        return line, port, lambda rate: FeetechBus(port.path, rate, margin=0.04)

    yield serve
    for port in ports:
        port.close()


Serve = Callable[..., tuple[Line, VirtualPort, OpenBus]]


def not_elsewhere() -> None:
    raise AssertionError("looks at other rates although a motor answers at the first")


def is_done(servo: VirtualServo, servo_id: int) -> bool:
    held = [servo.get(name) for name in ("ID", "Baud_Rate", "Lock", "Torque_Enable")]
    return held == [servo_id, 0, 1, 0]


@pytest.mark.parametrize("servo_id", [1, 6])
def test_a_new_motor_gets_its_id(serve: Serve, servo_id: int) -> None:
    line, port, open_bus = serve(1)
    servo = line.servos[0]
    port.call(lambda: servo.set("Torque_Enable", 1))
    assert find_motor(open_bus, not_elsewhere) == FACTORY
    assign_id(open_bus, FACTORY, servo_id)
    assert is_done(servo, servo_id)
    servo.power_cycle()
    assert find_motor(open_bus, not_elsewhere) == FoundMotor(servo_id, ARM_BAUDRATE)


@pytest.mark.skipif(sys.platform != "linux", reason="a pseudo-terminal must tell its rate")
@pytest.mark.parametrize("rate", [500_000, 76_800, 57_600, 19_200])
def test_a_motor_at_another_rate_is_found_and_set_to_1_mbaud(serve: Serve, rate: int) -> None:
    line, _, open_bus = serve(9)
    if rate == 76_800:  # the vendor's reading of code 5
        line.rates[5] = rate
    line.servos[0].set("Baud_Rate", next(code for code in line.rates if line.rates[code] == rate))
    told: list[bool] = []
    motor = find_motor(open_bus, lambda: told.append(True))
    assert motor == FoundMotor(9, rate) and len(told) == 1
    assign_id(open_bus, motor, 4)
    assert is_done(line.servos[0], 4)


def test_every_rate_of_the_vendor_is_tried() -> None:
    assert {ARM_BAUDRATE, *OTHER_BAUDRATES} == {*RATES.values(), 57_600, 76_800}


def test_a_missing_motor_is_reported_with_what_to_check(serve: Serve) -> None:
    _, port, open_bus = serve()

    def adapter(rate: int) -> FeetechBus:
        if rate == 128_000:
            raise PortLostError(port.path, "no such rate")
        if rate == 76_800:
            raise ValueError("no such rate")
        return open_bus(rate)

    with pytest.raises(MotorSetupError, match=r"no 128000, 76800 baud\).*power supply.*cable"):
        find_motor(adapter, lambda: None)


def test_a_lost_port_is_not_reported_as_a_missing_motor(serve: Serve) -> None:
    _, port, open_bus = serve()
    with pytest.raises(PortLostError, match=port.path):
        find_motor(open_bus, port.unplug)


def test_several_motors_are_named(serve: Serve) -> None:
    _, _, open_bus = serve(1, 4, 250)
    with pytest.raises(MotorSetupError, match=r"motors 1, 4, 250 answer.*unplug all but one"):
        find_motor(open_bus, not_elsewhere)


def test_two_motors_of_several_that_share_an_id_are_reported(serve: Serve) -> None:
    _, _, open_bus = serve(1, 1, 4)
    with pytest.raises(MotorSetupError, match="perhaps two motors with the same id"):
        find_motor(open_bus, not_elsewhere)


@pytest.mark.parametrize("collide", [False, True])
def test_two_motors_with_the_same_id_are_reported(serve: Serve, collide: bool) -> None:
    line, port, open_bus = serve(1, 1)
    # Colliding pings are alike, bit by bit, and make a valid answer: only readings differ.
    line.collide = collide
    port.call(lambda: line.plant.move(1, 1.0))  # type: ignore[attr-defined]
    with pytest.raises(MotorSetupError, match="perhaps two motors with the same id"):
        find_motor(open_bus, not_elsewhere)
    with (
        pytest.raises(MotorSetupError, match="perhaps two motors with the same id"),
        open_bus(ARM_BAUDRATE) as bus,
    ):
        already_set(bus, 1)


@pytest.mark.parametrize("noise", [b"\x55" * 6, b"\xff\xff\x01\x02\x00\x00"])
def test_garbage_is_retried_once_and_not_reported_as_a_missing_motor(
    serve: Serve, noise: bytes
) -> None:
    line, port, open_bus = serve(3)
    line.noise = [noise]
    assert find_motor(open_bus, not_elsewhere) == FoundMotor(3, ARM_BAUDRATE)
    line.noise = [noise] * 100
    port.call(line.servos.clear)
    with pytest.raises(MotorSetupError, match="garbled answers on port"):
        find_motor(open_bus, not_elsewhere)


def test_a_bad_line_is_not_reported_as_a_missing_motor(serve: Serve) -> None:
    _, port, open_bus = serve(3)
    port.disturb(FaultRates(corrupted=1.0))
    with pytest.raises(MotorSetupError, match="garbled answers"):
        find_motor(open_bus, not_elsewhere)


def test_echoes_are_no_garbage(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motor_setup, "OTHER_BAUDRATES", OTHER_BAUDRATES[-1:])
    line, port, open_bus = serve(3)
    line.echoes = True
    assert find_motor(open_bus, not_elsewhere) == FoundMotor(3, ARM_BAUDRATE)
    port.call(line.servos.clear)
    with pytest.raises(MotorSetupError, match="no motor answers"):
        find_motor(open_bus, lambda: None)


def test_another_model_is_left_alone(serve: Serve) -> None:
    line, _, open_bus = serve(1)
    line.servos[0].set("Model_Number", 1284)
    with pytest.raises(MotorSetupError, match="model 1284, expected 777"):
        find_motor(open_bus, not_elsewhere)


def test_a_taken_id_is_refused(serve: Serve) -> None:
    line, _, open_bus = serve(1, 6)
    with pytest.raises(MotorSetupError, match=r"another motor .* has id 6 already"):
        assign_id(open_bus, FACTORY, 6)
    assert settings(line.servos) == [(1, 0), (6, 0)]


def test_a_motor_that_does_not_keep_its_settings_is_named(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, _, open_bus = serve(1)
    keep = line.servos[0]._write
    monkeypatch.setattr(
        line.servos[0], "_write", lambda at, data: None if at == 55 else keep(at, data)
    )
    with pytest.raises(MotorSetupError, match=r"motor 1 .* did not keep .*Lock 0, not 1"):
        assign_id(open_bus, FACTORY, 1)


def test_a_motor_that_reports_an_error_is_set_up(serve: Serve) -> None:
    line, port, open_bus = serve(1)
    port.call(lambda: line.servos[0].set("Max_Voltage_Limit", 80))
    assign_id(open_bus, find_motor(open_bus, not_elsewhere), 2)
    assert is_done(line.servos[0], 2)


def test_motors_of_a_chain_are_recognised_and_locked(serve: Serve) -> None:
    line, port, open_bus = serve(2, 5)
    port.call(lambda: line.servo(5).set("Lock", 0))
    with open_bus(ARM_BAUDRATE) as bus:
        assert [i for i in range(1, 7) if already_set(bus, i)] == [2, 5]
    assert is_done(line.servo(5), 5)


class Killed(BaseException):
    """Sudden end of the program."""


@pytest.mark.skipif(sys.platform != "linux", reason="a pseudo-terminal must tell its rate")
def test_a_setup_killed_before_any_write_is_finished_by_the_next(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, _, open_bus = serve(1)
    line.confirms = True
    servo, real = line.servos[0], FeetechBus.write
    for killed in range(20):
        for name, value in (("ID", 1), ("Baud_Rate", 1), ("Torque_Enable", 1), ("Lock", 1)):
            servo.set(name, value)
        left = iter(range(killed))

        def write(*arguments: Any, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Killed
            real(*arguments)

        monkeypatch.setattr(FeetechBus, "write", write)
        try:
            assign_id(open_bus, FoundMotor(1, RATES[1]), 6)
            break
        except Killed:
            monkeypatch.setattr(FeetechBus, "write", real)
        assign_id(open_bus, find_motor(open_bus, lambda: None), 6)
        assert is_done(servo, 6), killed
    assert killed == 7  # torque, lock, rate; torque, lock, id; lock
