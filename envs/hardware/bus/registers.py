"""Registers of the Feetech STS3215 by name, with the encoding of their values.

Addresses, sizes and signs are those of the vendor's memory table for the STS series. Words are
little-endian. Signed registers hold sign and magnitude, not two's complement.
"""

import difflib
from dataclasses import dataclass
from enum import Enum

MODEL_NUMBER = 777
TICKS_PER_TURN = 4096


class UnknownRegisterError(KeyError):
    """Name that the servo has no register for."""

    def __str__(self) -> str:
        """Return the message itself, where a KeyError would show it quoted."""
        return str(self.args[0])


class RegisterRangeError(ValueError):
    """Value that does not fit into its register."""


class Area(Enum):
    """Memory area of a register: when it may be written and whether it survives a power cut."""

    EEPROM = "kept without power, written only while Lock is 0"
    SRAM = "lost without power, written at any time"
    FACTORY = "the vendor's own settings, written at any time"


@dataclass(frozen=True)
class Register:
    """Register of the servo.

    Attributes:
        name: Name, as the vendor and LeRobot write it.
        address: Address of the first byte.
        size: Number of bytes, 1 or 2.
        area: Memory area.
        sign_bit: Bit that says "negative"; None for a register without sign.
        read_only: Whether only the servo writes it.
    """

    name: str
    address: int
    size: int
    area: Area
    sign_bit: int | None = None
    read_only: bool = False

    @property
    def highest(self) -> int:
        """Largest magnitude that fits."""
        return (1 << (8 * self.size if self.sign_bit is None else self.sign_bit)) - 1

    @property
    def lowest(self) -> int:
        """Most negative value that fits, 0 without a sign."""
        return 0 if self.sign_bit is None else -self.highest

    def encode(self, value: int) -> bytes:
        """Encode a value as the register's bytes.

        Raises:
            RegisterRangeError: If the magnitude does not fit or the register has no sign.
        """
        if value < 0 and self.sign_bit is None:
            raise RegisterRangeError(
                f"{self.name} (address {self.address}) cannot be {value}: it has no sign; "
                f"expected 0 to {self.highest}"
            )
        if abs(value) > self.highest:
            raise RegisterRangeError(
                f"{self.name} (address {self.address}) cannot be {value}: magnitude beyond "
                f"{self.highest}; expected {self.lowest} to {self.highest}"
            )
        word = abs(value)
        if self.sign_bit is not None and value < 0:
            word |= 1 << self.sign_bit
        return word.to_bytes(self.size, "little")

    def decode(self, data: bytes) -> int:
        """Decode the register's bytes; bits above the sign bit are ignored.

        Raises:
            ValueError: If there are more or fewer bytes than the register has.
        """
        if len(data) != self.size:
            raise ValueError(f"{self.name} has {self.size} bytes, not {len(data)}")
        word = int.from_bytes(data, "little")
        magnitude = word & self.highest
        negative = self.sign_bit is not None and word >> self.sign_bit & 1
        return -magnitude if negative else magnitude


def _table() -> dict[str, Register]:
    """Return the registers by name."""
    eeprom, sram = Area.EEPROM, Area.SRAM
    registers = (
        Register("Firmware_Major_Version", 0, 1, eeprom, read_only=True),
        Register("Firmware_Minor_Version", 1, 1, eeprom, read_only=True),
        Register("Model_Number", 3, 2, eeprom, read_only=True),
        Register("ID", 5, 1, eeprom),
        Register("Baud_Rate", 6, 1, eeprom),
        Register("Return_Delay_Time", 7, 1, eeprom),
        Register("Response_Status_Level", 8, 1, eeprom),
        Register("Min_Position_Limit", 9, 2, eeprom),
        Register("Max_Position_Limit", 11, 2, eeprom),
        Register("Max_Temperature_Limit", 13, 1, eeprom),
        Register("Max_Voltage_Limit", 14, 1, eeprom),
        Register("Min_Voltage_Limit", 15, 1, eeprom),
        Register("Max_Torque_Limit", 16, 2, eeprom),
        Register("Phase", 18, 1, eeprom),
        Register("Unloading_Condition", 19, 1, eeprom),
        Register("P_Coefficient", 21, 1, eeprom),
        Register("D_Coefficient", 22, 1, eeprom),
        Register("I_Coefficient", 23, 1, eeprom),
        Register("Minimum_Startup_Force", 24, 2, eeprom),
        Register("Protection_Current", 28, 2, eeprom),
        Register("Homing_Offset", 31, 2, eeprom, sign_bit=11),
        Register("Operating_Mode", 33, 1, eeprom),
        Register("Protective_Torque", 34, 1, eeprom),
        Register("Protection_Time", 35, 1, eeprom),
        Register("Overload_Torque", 36, 1, eeprom),
        Register("Torque_Enable", 40, 1, sram),
        Register("Acceleration", 41, 1, sram),
        Register("Goal_Position", 42, 2, sram, sign_bit=15),
        Register("Goal_Time", 44, 2, sram),
        Register("Goal_Velocity", 46, 2, sram, sign_bit=15),
        Register("Torque_Limit", 48, 2, sram),
        Register("Lock", 55, 1, sram),
        Register("Present_Position", 56, 2, sram, sign_bit=15, read_only=True),
        Register("Present_Velocity", 58, 2, sram, sign_bit=15, read_only=True),
        Register("Present_Load", 60, 2, sram, sign_bit=10, read_only=True),
        Register("Present_Voltage", 62, 1, sram, read_only=True),
        Register("Present_Temperature", 63, 1, sram, read_only=True),
        Register("Status", 65, 1, sram, read_only=True),
        Register("Moving", 66, 1, sram, read_only=True),
        Register("Present_Current", 69, 2, sram, sign_bit=15, read_only=True),
        Register("Maximum_Acceleration", 85, 1, Area.FACTORY),
    )
    return {register.name: register for register in registers}


REGISTERS = _table()
"""Every register by name, in the order of the addresses."""


def register_named(name: str) -> Register:
    """Return the register of a name.

    Raises:
        UnknownRegisterError: If there is none; the message lists the nearest names.
    """
    try:
        return REGISTERS[name]
    except KeyError:
        nearest = difflib.get_close_matches(name, REGISTERS, n=3, cutoff=0.4) or list(REGISTERS)
        raise UnknownRegisterError(
            f"the STS3215 has no register '{name}'; nearest names: {', '.join(nearest)}"
        ) from None
