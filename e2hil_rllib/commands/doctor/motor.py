"""One motor as it was read: what its registers hold, and what it measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import ServoFaultError

_REGISTERS = (
    "Firmware_Major_Version",
    "Firmware_Minor_Version",
    "Baud_Rate",
    "Return_Delay_Time",
    "Min_Position_Limit",
    "Max_Position_Limit",
    "Max_Temperature_Limit",
    "Max_Voltage_Limit",
    "Min_Voltage_Limit",
    "Max_Torque_Limit",
    "Phase",
    "Protection_Current",
    "Homing_Offset",
    "Overload_Torque",
    "Torque_Enable",
)


@dataclass(frozen=True)
class Motor:
    """One motor.

    Attributes:
        servo_id: on the bus.
        joint: it moves.
        model: its model number.
        held: values of its registers, by name.
        voltage: of its supply [V].
        temperature: of its housing [°C].
        position: [ticks].
        reported: names of the errors that it reports.
    """

    servo_id: int
    joint: str
    model: int
    held: Mapping[str, int]
    voltage: float
    temperature: float
    position: int
    reported: tuple[str, ...]

    @property
    def name(self) -> str:
        """How a person finds it."""
        return motor_name(self.servo_id, self.joint)

    @property
    def firmware(self) -> str:
        """Its version, such as "3.10"."""
        return f"{self.held['Firmware_Major_Version']}.{self.held['Firmware_Minor_Version']}"


def motor_name(servo_id: int, joint: str) -> str:
    """How a person finds a motor."""
    return f"motor {servo_id} {joint}"


def read_motors(
    bus: FeetechBus, joints: Mapping[int, str], models: Mapping[int, int]
) -> list[Motor]:
    """Reads the motors that answer.

    Args:
        bus: the arm's.
        joints: by motor id.
        models: model numbers of the motors that answer, by id.

    Raises:
        NoAnswerError: if one no longer answers.
        PortLostError: if the port has gone away.
    """
    present = list(models)
    registers = {name: _read(bus, name, present) for name in _REGISTERS}
    telemetry = bus.read_telemetry(present)
    return [
        Motor(
            servo_id,
            joints[servo_id],
            models[servo_id],
            {name: values[servo_id] for name, values in registers.items()},
            float(telemetry.voltages[place]),
            float(telemetry.temperatures[place]),
            int(telemetry.position_ticks[place]),
            telemetry.faults[place],
        )
        for place, servo_id in enumerate(present)
    ]


def _read(bus: FeetechBus, name: str, servo_ids: Sequence[int]) -> dict[int, int]:
    """Reads a register of motors that may be reporting errors, which the telemetry shows."""
    try:
        return bus.sync_read(name, servo_ids)
    except ServoFaultError as fault:
        return fault.values
