"""Believed readings of servos."""

from collections.abc import Iterator
from typing import Any

import pytest

from envs.hardware.arm.arm_believed import BelievedReader, DoubtfulReadingError
from envs.hardware.bus.registers import REGISTERS
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.bus.telemetry import TELEMETRY_ADDRESS, Telemetry, decode_telemetry
from envs.hardware.errors import NoAnswerError


def telemetry(position: int, temperature: int = 30) -> Telemetry:
    """Return the telemetry of one servo."""
    block = bytearray(15)
    values = {"Present_Position": position, "Present_Voltage": 74}
    values["Present_Temperature"] = temperature
    for name, value in values.items():
        register = REGISTERS[name]
        start = register.address - TELEMETRY_ADDRESS
        block[start : start + register.size] = register.encode(value)
    return decode_telemetry({4: bytes(block)}, {4: 12}, {4: 0})


class Bus:
    """Bus with one servo that gives scripted answers."""

    port = "/dev/arm"

    def __init__(self, answers: list[Any]):
        self.answers: Iterator[Any] = iter(answers)
        self.asked = 0

    def read_telemetry(self, servo_ids: object) -> Telemetry:
        self.asked += 1
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Telemetry) else telemetry(answer)


def reader(*answers: Any) -> tuple[BelievedReader, Bus]:
    bus = Bus(list(answers))
    ticking = iter(range(10_000))
    fake: FeetechBus = bus  # type: ignore[assignment]
    return BelievedReader(fake, [4], lambda: 0.002 * next(ticking)), bus


def position(reading: tuple[float, Telemetry]) -> int:
    return int(reading[1].position_ticks[0])


def test_the_first_reading_is_taken_twice_and_later_ones_once() -> None:
    believed, bus = reader(2000, 2001, 2002)
    assert position(believed.read()) == 2001 and bus.asked == 2
    assert position(believed.read()) == 2002 and bus.asked == 3


@pytest.mark.parametrize("answers", [(900, 2000, 2001), (2000, 900, 2001, 2002)])
def test_a_damaged_first_reading_is_not_believed(answers: tuple[int, ...]) -> None:
    believed, _ = reader(*answers)
    assert position(believed.read()) == answers[-1]


def test_a_damaged_reading_is_read_again() -> None:
    believed, bus = reader(2000, 2000, 900, 2005)
    believed.read()
    assert position(believed.read()) == 2005 and bus.asked == 4


def test_a_true_jump_is_believed_when_it_is_read_twice() -> None:
    believed, bus = reader(2000, 2000, 900, 903, 905)
    believed.read()
    assert position(believed.read()) == 903 and bus.asked == 4
    assert position(believed.read()) == 905


def test_a_failing_sensor_is_believed_when_it_is_read_twice() -> None:
    hot = telemetry(2000, temperature=90)
    believed, _ = reader(2000, 2000, hot, hot)
    believed.read()
    assert believed.read()[1].temperatures[0] == 90


def test_changing_readings_are_doubted_by_motor_and_register() -> None:
    believed, _ = reader(2000, 2000, 100, 900, 1700, 2900, 3900)
    believed.read()
    with pytest.raises(DoubtfulReadingError, match=r"port /dev/arm, motor 4: Present_Position"):
        believed.read()


def test_impossible_values_are_never_believed() -> None:
    believed, _ = reader(*[telemetry(2000, temperature=200)] * 5)
    with pytest.raises(DoubtfulReadingError, match="Present_Temperature: 200 is outside"):
        believed.read()


def test_after_forget_the_next_reading_needs_a_confirmation() -> None:
    believed, bus = reader(2000, 2000, 900, 901)
    believed.read()
    believed.forget()
    assert position(believed.read()) == 901 and bus.asked == 4


def test_a_silent_motor_raises_the_error_of_the_bus() -> None:
    believed, _ = reader(NoAnswerError("/dev/arm", (4,), "SYNC_READ", 3))
    with pytest.raises(NoAnswerError):
        believed.read()
