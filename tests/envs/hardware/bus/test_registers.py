"""Register table and sign-magnitude encoding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.hardware.bus.registers import (
    REGISTERS,
    Area,
    Register,
    RegisterRangeError,
    UnknownRegisterError,
    register_named,
)

registers = st.sampled_from(list(REGISTERS.values()))


@given(registers, st.data())
def test_every_value_that_fits_survives_encoding_and_decoding(
    register: Register, data: st.DataObject
) -> None:
    value = data.draw(st.integers(register.lowest, register.highest))
    encoded = register.encode(value)
    assert len(encoded) == register.size
    assert register.decode(encoded) == value


@given(registers, st.data())
def test_any_received_bytes_decode_into_the_range(register: Register, data: st.DataObject) -> None:
    received = data.draw(st.binary(min_size=register.size, max_size=register.size))
    assert register.lowest <= register.decode(received) <= register.highest


@given(registers, st.integers(1, 1 << 20))
def test_values_that_do_not_fit_are_refused_by_name(register: Register, excess: int) -> None:
    with pytest.raises(RegisterRangeError, match=register.name):
        register.encode(register.highest + excess)
    with pytest.raises(RegisterRangeError, match=register.name):
        register.encode(register.lowest - excess)


def test_a_homing_offset_beyond_eleven_bits_is_refused() -> None:
    """The trap that users of the arm report as "Magnitude 2114 exceeds 2047"."""
    expected = r"Homing_Offset \(address 31\) cannot be -2114: magnitude beyond 2047"
    with pytest.raises(RegisterRangeError, match=expected):
        register_named("Homing_Offset").encode(-2114)


@pytest.mark.parametrize(
    ("name", "value", "data"),
    [
        ("Present_Position", 2047, b"\xff\x07"),
        ("Present_Position", -1, b"\x01\x80"),
        ("Homing_Offset", -2047, b"\xff\x0f"),
        ("Present_Load", -1000, b"\xe8\x07"),
        ("Present_Current", -300, b"\x2c\x81"),
        ("Goal_Velocity", -3400, b"\x48\x8d"),
        ("Max_Position_Limit", 4095, b"\xff\x0f"),
        ("Torque_Enable", 1, b"\x01"),
    ],
)
def test_values_on_the_wire(name: str, value: int, data: bytes) -> None:
    assert register_named(name).encode(value) == data
    assert register_named(name).decode(data) == value


def test_minus_zero_is_zero() -> None:
    assert register_named("Present_Velocity").decode(b"\x00\x80") == 0


def test_decode_refuses_too_many_bytes() -> None:
    with pytest.raises(ValueError, match="Lock has 1 bytes, not 2"):
        register_named("Lock").decode(b"\0\0")


def test_an_unknown_name_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnknownRegisterError, match=r"no register 'Goal_Positon'.*Goal_Position"):
        register_named("Goal_Positon")


def test_no_two_registers_share_a_byte_and_the_areas_do_not_mix() -> None:
    end = 0
    for register in REGISTERS.values():
        assert register.address >= end, register.name
        end = register.address + register.size
        expected = Area.EEPROM if end <= 40 else Area.SRAM if end <= 71 else Area.FACTORY
        assert register.area is expected, register.name
