"""Virtual STS3215: its registers, the effects of writing them, and its protection.

It follows the vendor's memory table: EEPROM behind the Lock, power cuts, limits of the goal,
Homing_Offset, and protection against heat, wrong voltage and overload. Where the table leaves a
choice, the stricter one is taken: a locked EEPROM ignores writes, a torque that is switched on
pulls to the old goal. Only Operating_Mode 0 (position) moves.
"""

from collections.abc import Callable
from dataclasses import dataclass

from envs.hardware.bus.packets import Instruction, Packet, pack
from envs.hardware.bus.registers import (
    MODEL_NUMBER,
    REGISTERS,
    TICKS_PER_TURN,
    Area,
    register_named,
)
from envs.hardware.bus.telemetry import (
    AMPERES_PER_BIT,
    FRACTION_PER_BIT,
    PHASE_NO_CURRENT,
    RADIANS_PER_TICK,
    velocity_unit,
)
from envs.virtual.plant import FULL_SPEED, Drive, JointState

ENCODER_MIDDLE = 2047
"""Tick of the encoder at angle 0 of the joint."""
STALL_CURRENT = 2.7
"""Current at full effort [A]."""
STIFFNESS_PER_P = 10.0 / 16.0
"""Share of the stall torque per error and unit of P_Coefficient [1/rad]; an estimate: full torque
at 6 degrees with P = 16."""
RETURN_DELAY_UNIT = 2e-6
"""Unit of the Return_Delay_Time register [s]."""

_VOLTAGE, _OVERHEAT, _OVERLOAD = 1, 4, 32
_PROTECTION_TIME_UNIT = 0.01  # s
_MEMORY = 96  # bytes, a little beyond the last register

_EEPROM_OF_THE_FACTORY = {
    "Firmware_Major_Version": 3,
    "Firmware_Minor_Version": 10,
    "Model_Number": MODEL_NUMBER,
    "ID": 1,
    "Response_Status_Level": 1,
    "Max_Position_Limit": 4095,
    "Max_Temperature_Limit": 70,
    "Max_Voltage_Limit": 140,
    "Min_Voltage_Limit": 40,
    "Max_Torque_Limit": 1000,
    "Phase": 12,
    "Unloading_Condition": _OVERHEAT | 8 | _OVERLOAD,
    "P_Coefficient": 32,
    "D_Coefficient": 32,
    "Minimum_Startup_Force": 16,
    "Protection_Current": 500,
    "Protective_Torque": 20,
    "Protection_Time": 200,
    "Overload_Torque": 80,
}
_READ_ONLY = frozenset(
    register.address + i
    for register in REGISTERS.values()
    if register.read_only
    for i in range(register.size)
)
_EEPROM = range(0, max(r.address + r.size for r in REGISTERS.values() if r.area is Area.EEPROM))


@dataclass(frozen=True)
class GoalEvent:
    """New goal of a servo.

    Attributes:
        time: Time on the clock of the virtual servos [s].
        servo_id: Id of the servo.
        goal: Goal within the limits [ticks].
        present: Position of the servo at that time [ticks].
        torque: Whether the torque was on, so that the servo moved there.
    """

    time: float
    servo_id: int
    goal: int
    present: int
    torque: bool


class VirtualServo:
    """Virtual servo; tests use ``set`` and ``get``, a host uses ``answer``.

    Attributes:
        injected_error: Error bits that the servo reports on top of its own.
    """

    def __init__(self, servo_id: int, log_goal: Callable[[GoalEvent], None] = lambda _: None):
        """Make a servo as the factory ships it, but with an id of its own.

        Args:
            servo_id: Id of the servo.
            log_goal: Function that is called with every new goal.
        """
        self.injected_error = 0
        self._memory = bytearray(_MEMORY)
        self._log_goal = log_goal
        self._prepared: tuple[int, bytes] | None = None
        self._joint = JointState(0.0)
        self._overloaded_for = 0.0
        self._overload = False
        self._now = 0.0
        for name, value in _EEPROM_OF_THE_FACTORY.items():
            self.set(name, value)
        self.set("ID", servo_id)
        self.power_cycle()

    @property
    def servo_id(self) -> int:
        """Current id of the servo."""
        return self._memory[REGISTERS["ID"].address]

    @property
    def return_delay(self) -> float:
        """Delay before the servo answers [s]."""
        return self.get("Return_Delay_Time") * RETURN_DELAY_UNIT

    def get(self, name: str) -> int:
        """Return the value of a register."""
        register = register_named(name)
        start = register.address
        return register.decode(bytes(self._memory[start : start + register.size]))

    def set(self, name: str, value: int) -> None:
        """Set a register without protection and without side effects."""
        register = register_named(name)
        start = register.address
        self._memory[start : start + register.size] = register.encode(value)

    def power_cycle(self) -> None:
        """Lose everything but the EEPROM, and start with the goal where the joint is."""
        self._memory[_EEPROM.stop :] = bytes(_MEMORY - _EEPROM.stop)
        self.set("Torque_Limit", self.get("Max_Torque_Limit"))
        self.set("Lock", 1)
        self.set("Present_Voltage", 120)
        self.set("Present_Temperature", 30)
        self.set("Maximum_Acceleration", 254)
        self._prepared = None
        self._overload = False
        self._overloaded_for = 0.0
        self.advance(self._now, 0.0, self._joint)
        self.set("Goal_Position", self.get("Present_Position"))

    def answer(self, instruction: Packet) -> bytes | None:
        """Carry out an instruction and return the status packet, None if there is none.

        The answer to a new ID still has the old one: the vendor's SDK accepts no other.
        """
        servo_id = self.servo_id
        data = self._carry_out(instruction.code, instruction.payload)
        always = instruction.code in (Instruction.PING, Instruction.READ)
        if data is None or not (always or self.get("Response_Status_Level")):
            return None
        return pack(servo_id, self._error(), data)

    def advance(self, now: float, dt: float, joint: JointState) -> None:
        """Measure the joint, and apply the protection.

        Args:
            now: Current time, for the log of goals [s].
            dt: Time since the last call [s].
            joint: State of the joint.
        """
        self._now = now
        self._joint = joint
        phase = self.get("Phase")
        effort = max(-1.0, min(1.0, joint.effort))
        current = 0 if phase & PHASE_NO_CURRENT else effort * STALL_CURRENT
        self.set("Present_Position", round(self._encoder()) % TICKS_PER_TURN)
        self.set("Present_Velocity", round(joint.velocity / velocity_unit(phase)))
        self.set("Present_Load", round(effort / FRACTION_PER_BIT))
        self.set("Present_Current", round(current / AMPERES_PER_BIT))
        self.set("Moving", abs(joint.velocity) > 0.01)
        overloaded = abs(effort) * 100 >= self.get("Overload_Torque")
        self._overloaded_for = self._overloaded_for + dt if overloaded else 0.0
        if self._overloaded_for > self.get("Protection_Time") * _PROTECTION_TIME_UNIT:
            self._overload = True
        self.set("Status", self._error())

    def drive(self) -> Drive:
        """Return the current drive of the servo on its joint."""
        # The goal is approached in the servo's own ticks, which end at 0 and 4095: it never takes
        # the short way across the end.
        exact = self._encoder()
        present = self.get("Present_Position") + exact - round(exact)
        speed = self.get("Goal_Velocity") * velocity_unit(self.get("Phase"))
        return Drive(
            target=self._joint.position + (self._goal() - present) * RADIANS_PER_TICK,
            torque=self._torque(),
            speed=min(abs(speed), FULL_SPEED) or FULL_SPEED,
            stiffness=self.get("P_Coefficient") * STIFFNESS_PER_P,
        )

    def _encoder(self) -> float:
        """Return the tick of the joint's angle minus the Homing_Offset, not wrapped around."""
        angle = self._joint.position / RADIANS_PER_TICK
        return ENCODER_MIDDLE + angle - self.get("Homing_Offset")

    def _goal(self) -> int:
        """Return the goal within the limits [ticks]; equal limits mean no limits."""
        goal = self.get("Goal_Position")
        lowest, highest = self.get("Min_Position_Limit"), self.get("Max_Position_Limit")
        return max(lowest, min(highest, goal)) if lowest < highest else goal

    def _torque(self) -> float:
        """Return the torque that the servo allows, as a fraction of its stall torque."""
        unloading = self._error() & self.get("Unloading_Condition")
        position_mode = self.get("Operating_Mode") == 0
        if not (self.get("Torque_Enable") and position_mode) or unloading & ~_OVERLOAD:
            return 0.0
        torque = min(1.0, self.get("Torque_Limit") * FRACTION_PER_BIT)
        return min(torque, self.get("Protective_Torque") / 100) if unloading else torque

    def _error(self) -> int:
        """Return the error bits of a status packet."""
        error = self.injected_error
        voltage = self.get("Present_Voltage")
        if not self.get("Min_Voltage_Limit") <= voltage <= self.get("Max_Voltage_Limit"):
            error |= _VOLTAGE
        if self.get("Present_Temperature") >= self.get("Max_Temperature_Limit"):
            error |= _OVERHEAT
        return error | (_OVERLOAD if self._overload else 0)

    def _carry_out(self, instruction: int, parameters: bytes) -> bytes | None:
        """Carry out an instruction and return the answer's data, None if it is invalid."""
        match instruction:
            case Instruction.PING:
                return b""
            case Instruction.READ if len(parameters) == 2:
                start, end = parameters[0], sum(parameters)
                return bytes(self._memory[start:end]) if end <= _MEMORY else None
            case Instruction.WRITE if parameters:
                self._write(parameters[0], parameters[1:])
                return b""
            case Instruction.REG_WRITE if parameters:
                self._prepared = (parameters[0], parameters[1:])
                return b""
            case Instruction.ACTION:
                if self._prepared:
                    self._write(*self._prepared)
                self._prepared = None
                return b""
        return None

    def _write(self, address: int, data: bytes) -> None:
        """Write the bytes that a host may currently write, with all side effects."""
        locked = self.get("Lock") != 0
        written = set()
        for place, byte in enumerate(data, start=address):
            if place < _MEMORY and place not in _READ_ONLY and not (locked and place in _EEPROM):
                self._memory[place] = byte
                written.add(place)
        torque = REGISTERS["Torque_Enable"].address in written
        if torque:
            self.set("Lock", int(self.get("Torque_Enable") != 0))
            self._overload = False
            self._overloaded_for = 0.0
        if REGISTERS["Homing_Offset"].address in written:
            self.set("Present_Position", round(self._encoder()) % TICKS_PER_TURN)
        if REGISTERS["Goal_Position"].address in written or (torque and self.get("Torque_Enable")):
            present, enabled = self.get("Present_Position"), self.get("Torque_Enable") != 0
            self._log_goal(GoalEvent(self._now, self.servo_id, self._goal(), present, enabled))
