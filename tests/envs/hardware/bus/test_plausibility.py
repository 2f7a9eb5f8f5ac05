"""Plausibility of servo readings."""

import pytest

from envs.hardware.bus.plausibility import STS3215_LIMITS, Limits, PlausibilityCheck, objections
from envs.hardware.bus.registers import REGISTERS
from envs.hardware.bus.telemetry import TELEMETRY_LENGTH, Telemetry, decode_telemetry

READING = {
    "Present_Position": 2047,
    "Present_Velocity": 0,
    "Present_Load": 100,
    "Present_Voltage": 120,
    "Present_Temperature": 31,
    "Status": 0,
    "Moving": 0,
    "Present_Current": 10,
}


def telemetry(**changes: int) -> Telemetry:
    block = bytearray(TELEMETRY_LENGTH)
    for name, value in (READING | changes).items():
        start = REGISTERS[name].address - 56
        block[start : start + REGISTERS[name].size] = REGISTERS[name].encode(value)
    return decode_telemetry({3: bytes(block)}, {3: 12}, {3: 0})


def test_every_telemetry_register_has_limits() -> None:
    assert STS3215_LIMITS.keys() == READING.keys()
    assert dict(telemetry().registers[0]) == READING


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Present_Position", -1),
        ("Present_Position", 4096),
        ("Present_Velocity", 20000),
        ("Present_Load", -1001),
        ("Present_Voltage", 255),
        ("Present_Temperature", 200),
        ("Status", 0x80),
        ("Moving", 2),
        ("Present_Current", 501),
    ],
)
def test_values_out_of_range_are_doubted_by_name(name: str, value: int) -> None:
    found = objections(READING | {name: value}, None, 0.0)
    assert len(found) == 1 and found[0].startswith(f"{name}: {value} is outside")
    assert objections(READING, None, 0.0) == []


def test_a_jump_is_doubted_and_a_fast_movement_is_not() -> None:
    assert objections(READING | {"Present_Position": 2650}, READING, 0.1) == []
    assert objections(READING | {"Present_Position": 2800}, READING, 0.1) == [
        "Present_Position: 2047 to 2800 in 0.100 s, more than 690"
    ]
    assert objections(READING | {"Present_Temperature": 60}, READING, 0.1)
    assert objections(READING | {"Present_Current": -400}, READING, 0.1) == [], "it may jump"


def test_wrapping_around_is_no_jump() -> None:
    assert Limits(0, 4095, rate=0, slack=20, period=4096).objection(4090, 5, 0.1) is None


def test_a_doubted_reading_is_not_the_reference_of_the_next() -> None:
    check = PlausibilityCheck()
    assert check.check(telemetry(), 0.0) == {}
    doubts = check.check(telemetry(Present_Position=4000), 0.1)
    assert list(doubts) == [3] and "2047 to 4000" in doubts[3][0]
    assert check.check(telemetry(Present_Position=2100), 0.2) == {}
    assert check.check(telemetry(Present_Position=4000), 1.0) == {}, "in 0.8 s it can get there"


def test_forget_checks_the_next_reading_by_its_ranges_only() -> None:
    check = PlausibilityCheck()
    check.check(telemetry(), 0.0)
    check.forget()
    assert check.check(telemetry(Present_Position=10), 0.1) == {}
