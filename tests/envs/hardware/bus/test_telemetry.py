"""Telemetry: fifteen bytes in SI units."""

import numpy as np
import pytest

from envs.hardware.bus.registers import REGISTERS
from envs.hardware.bus.telemetry import (
    TELEMETRY_ADDRESS,
    TELEMETRY_LENGTH,
    TELEMETRY_REGISTERS,
    Telemetry,
    decode_telemetry,
    velocity_unit,
)


def block(**values: int) -> bytes:
    data = bytearray(TELEMETRY_LENGTH)
    for name, value in values.items():
        start = REGISTERS[name].address - TELEMETRY_ADDRESS
        data[start : start + REGISTERS[name].size] = REGISTERS[name].encode(value)
    return bytes(data)


def decode(data: bytes, phase: int = 12, error: int = 0) -> Telemetry:
    return decode_telemetry({3: data}, {3: phase}, {3: error})


def test_the_block_holds_the_eight_registers_that_change() -> None:
    assert len(TELEMETRY_REGISTERS) == 8
    values = dict(zip(TELEMETRY_REGISTERS, (2000, -5, -300, 74, 40, 32, 1, -20), strict=True))
    assert dict(decode(block(**values)).registers[0]) == values


def test_every_register_has_its_unit() -> None:
    reading = decode(
        block(
            Present_Position=1024,
            Present_Velocity=-100,
            Present_Load=-250,
            Present_Voltage=74,
            Present_Temperature=40,
            Moving=1,
            Present_Current=-200,
        )
    )
    assert reading.servo_ids == (3,) and reading.position_ticks.tolist() == [1024]
    np.testing.assert_allclose(reading.positions, [np.pi / 2])
    np.testing.assert_allclose(reading.velocities, [-100 * 0.0146 * 2 * np.pi / 60])
    np.testing.assert_allclose(reading.loads, [-0.25])
    np.testing.assert_allclose(reading.voltages, [7.4])
    np.testing.assert_allclose(reading.temperatures, [40.0])
    np.testing.assert_allclose(reading.currents, [-1.3])
    assert reading.moving.tolist() == [True]


def test_phase_selects_velocity_unit_and_current_sensor() -> None:
    assert velocity_unit(0) / velocity_unit(4) == pytest.approx(0.732 / 0.0146)
    blind = decode(block(Present_Current=77), phase=0x20)
    assert blind.currents.tolist() == [0.0] and blind.has_current.tolist() == [False]


def test_faults_combine_answer_and_status() -> None:
    assert decode(block(Status=4), error=32).faults == (("overheat", "overload"),)
    assert decode(block(Status=16)).faults == (("unknown error bit 16",),)


def test_a_wrong_number_of_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="telemetry is 15 bytes, not 3"):
        decode(b"\0\0\0")
