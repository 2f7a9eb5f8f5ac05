"""Telemetry of servos: one read of the 15 bytes from 56 to 70, in SI units."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.hardware.bus.registers import REGISTERS, TICKS_PER_TURN
from envs.hardware.errors import fault_names

FloatArray = NDArray[np.float64]

TELEMETRY_ADDRESS = 56
TELEMETRY_LENGTH = 15
TELEMETRY_REGISTERS = tuple(
    name
    for name, register in REGISTERS.items()
    if TELEMETRY_ADDRESS <= register.address < TELEMETRY_ADDRESS + TELEMETRY_LENGTH
)
"""Present_Position, Present_Velocity, Present_Load, Present_Voltage, Present_Temperature, Status,
Moving and Present_Current."""

RADIANS_PER_TICK = 2 * math.pi / TICKS_PER_TURN
AMPERES_PER_BIT = 0.0065
VOLTS_PER_BIT = 0.1
FRACTION_PER_BIT = 0.001
"""Fraction of the stall torque per bit of a load or a torque limit."""

PHASE_FINE_VELOCITY = 0x04
PHASE_NO_CURRENT = 0x20
_RPM = 2 * math.pi / 60


def velocity_unit(phase: int) -> float:
    """Return the velocity per bit [rad/s] that the Phase register selects.

    0.732 rpm while Phase bit 0x04 is 0, 0.0146 rpm (one tick per second) while it is 1.
    """
    return (0.0146 if phase & PHASE_FINE_VELOCITY else 0.732) * _RPM


def decode_block(block: bytes) -> dict[str, int]:
    """Decode the 15 bytes of one servo into register values.

    Raises:
        ValueError: If there are more or fewer bytes.
    """
    if len(block) != TELEMETRY_LENGTH:
        raise ValueError(f"telemetry is {TELEMETRY_LENGTH} bytes, not {len(block)}")
    values = {}
    for name in TELEMETRY_REGISTERS:
        register = REGISTERS[name]
        start = register.address - TELEMETRY_ADDRESS
        values[name] = register.decode(block[start : start + register.size])
    return values


@dataclass(frozen=True)
class Telemetry:
    """Reading of N servos, in the order in which they were asked for.

    Attributes:
        servo_ids: Motor ids, N of them.
        registers: Raw register values of each servo, N of them.
        position_ticks: Positions, shape (N,), 4096 per turn, Homing_Offset included.
        positions: Positions, shape (N,) [rad], 0 at tick 0.
        velocities: Velocities, shape (N,) [rad/s].
        loads: Drive as a fraction of full torque, shape (N,), -1 to 1.
        voltages: Supply voltages, shape (N,) [V].
        temperatures: Temperatures, shape (N,) [°C].
        currents: Currents, shape (N,) [A]; 0 for a servo without a current sensor.
        has_current: Whether the servo measures its current (Phase bit 0x20 is 0), shape (N,).
        moving: Whether the servo is moving, shape (N,).
        faults: Names of the errors that each servo reports, N tuples.
    """

    servo_ids: tuple[int, ...]
    registers: tuple[Mapping[str, int], ...]
    position_ticks: NDArray[np.int64]
    positions: FloatArray
    velocities: FloatArray
    loads: FloatArray
    voltages: FloatArray
    temperatures: FloatArray
    currents: FloatArray
    has_current: NDArray[np.bool_]
    moving: NDArray[np.bool_]
    faults: tuple[tuple[str, ...], ...]


def decode_telemetry(
    blocks: Mapping[int, bytes], phases: Mapping[int, int], errors: Mapping[int, int]
) -> Telemetry:
    """Decode the servos' bytes into SI units.

    Args:
        blocks: 15 bytes of each servo, by id; the order is kept.
        phases: Phase register of each servo, by id.
        errors: Error byte of each servo's answer, by id; the Status register adds to it.
    """
    servo_ids = tuple(blocks)
    registers = tuple(decode_block(block) for block in blocks.values())
    column = {
        name: np.array([values[name] for values in registers], dtype=np.float64)
        for name in TELEMETRY_REGISTERS
    }
    has_current = np.array([not phases[i] & PHASE_NO_CURRENT for i in servo_ids])
    units = np.array([velocity_unit(phases[i]) for i in servo_ids])
    return Telemetry(
        servo_ids=servo_ids,
        registers=registers,
        position_ticks=column["Present_Position"].astype(np.int64),
        positions=column["Present_Position"] * RADIANS_PER_TICK,
        velocities=column["Present_Velocity"] * units,
        loads=column["Present_Load"] * FRACTION_PER_BIT,
        voltages=column["Present_Voltage"] * VOLTS_PER_BIT,
        temperatures=column["Present_Temperature"],
        currents=column["Present_Current"] * AMPERES_PER_BIT * has_current,
        has_current=has_current,
        moving=column["Moving"] != 0,
        faults=tuple(
            fault_names(errors[servo_id] | values["Status"])
            for servo_id, values in zip(servo_ids, registers, strict=True)
        ),
    )
