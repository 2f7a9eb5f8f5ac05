"""Servo bus for a host: registers by name, values checked, servo errors named."""

from collections.abc import Mapping, Sequence

from envs.closing import Closing
from envs.hardware.bus import packets
from envs.hardware.bus.packets import BROADCAST_ID, HIGHEST_ID, Packet
from envs.hardware.bus.registers import Register, register_named
from envs.hardware.bus.serial_line import SerialLine
from envs.hardware.bus.telemetry import (
    TELEMETRY_ADDRESS,
    TELEMETRY_LENGTH,
    Telemetry,
    decode_telemetry,
)
from envs.hardware.bus.transactions import BusCounters, Transactions
from envs.hardware.errors import ServoFaultError, fault_names

BROADCAST_PING_WINDOW = 0.8
"""How long 253 servos may take to answer one after the other, about 3 ms each [s]."""


class FeetechBus(Closing):
    """STS3215 servos on a half-duplex serial line; safe to use from several threads.

    Each method is one transaction that no other thread can break into. Waiting and repeating are
    those of ``Transactions``: about 0.2 s at most by default.

    Errors that the servos report raise ``ServoFaultError`` after the transaction is complete; only
    ``read_telemetry`` returns them with its readings.
    """

    def __init__(
        self, port: str, baudrate: int = 1_000_000, *, retries: int = 2, margin: float = 0.02
    ):
        """Open the port.

        Args:
            port: Path of the port, such as /dev/ttyACM0.
            baudrate: Bits per second.
            retries: Number of repetitions of a question before its motor counts as missing.
            margin: Time by which an answer may be later than the wire time [s]; the usual USB
                adapters hold bytes back for up to 16 ms.

        Raises:
            PortLostError: If the port cannot be opened.
        """
        self._line = SerialLine(port, baudrate)
        self._transactions = Transactions(self._line, retries, margin)
        self._phases: dict[int, int] = {}

    @property
    def port(self) -> str:
        """Path of the port."""
        return self._line.port

    @property
    def counters(self) -> BusCounters:
        """Counters of what has happened on the bus."""
        return self._transactions.counters

    def ping(self, servo_id: int) -> int:
        """Return the model number of a servo (777 for an STS3215), whatever errors it reports.

        Raises:
            NoAnswerError: If there is no such servo.
            PortLostError: If the port has gone away.
        """
        self._transactions.ask(lambda ids: packets.ping(ids[0]), (servo_id,), 0, "PING")
        # An adapter that hears itself could have answered the PING. A READ only the servo can.
        model = register_named("Model_Number")
        return model.decode(self._read((servo_id,), model)[servo_id].payload)

    def broadcast_ping(self) -> list[int]:
        """Return the ids of all servos that answer, in ascending order; takes 0.8 s.

        Answers can be lost here without notice: only ``ping`` tells reliably that one is missing.

        Raises:
            PortLostError: If the port has gone away.
        """
        everyone = range(HIGHEST_ID + 1)
        question = packets.ping(BROADCAST_ID)
        return sorted(self._transactions.collect(question, everyone, BROADCAST_PING_WINDOW))

    def read(self, servo_id: int, name: str) -> int:
        """Return the value of a register.

        Raises:
            UnknownRegisterError: If there is no register of this name.
            NoAnswerError: If the servo does not answer.
            ServoFaultError: If it reports an error; the exception holds the value.
            PortLostError: If the port has gone away.
        """
        register = register_named(name)
        answers = self._read((servo_id,), register)
        return self._values(register, answers)[servo_id]

    def write(self, servo_id: int, name: str, value: int) -> None:
        """Set a register and wait until the servo confirms it.

        A write whose confirmation was lost is repeated. A changed ID or Baud_Rate takes effect at
        once, so that such a repetition gets no answer: after ``NoAnswerError``, ping the new one.

        Raises:
            UnknownRegisterError: If there is no register of this name.
            RegisterRangeError: If the value does not fit.
            ValueError: If only the servo itself writes this register.
            NoAnswerError: If the servo does not confirm.
            ServoFaultError: If it reports an error; the register is set nevertheless.
            PortLostError: If the port has gone away.
        """
        register = _writable(name)
        data = register.encode(value)
        answers = self._transactions.ask(
            lambda ids: packets.write(ids[0], register.address, data),
            (servo_id,),
            0,
            f"WRITE {name} = {value}",
        )
        self._forget_phases(name, (servo_id,))
        self._raise_faults(answers, {})

    def sync_read(self, name: str, servo_ids: Sequence[int]) -> dict[int, int]:
        """Return the same register of several servos, by id, in the order asked for.

        Only the servos that did not answer are asked again.

        Raises:
            UnknownRegisterError: If there is no register of this name.
            NoAnswerError: If servos do not answer.
            ServoFaultError: If servos report errors; the exception holds all values.
            PortLostError: If the port has gone away.
        """
        register = register_named(name)
        return self._values(register, self._read(servo_ids, register))

    def sync_write(self, name: str, values: Mapping[int, int]) -> None:
        """Set the same register of several servos, by id, at once and without confirmation.

        Raises:
            UnknownRegisterError: If there is no register of this name.
            RegisterRangeError: If a value does not fit.
            ValueError: If only the servo itself writes this register.
            PortLostError: If the port has gone away.
        """
        register = _writable(name)
        data = {servo_id: register.encode(value) for servo_id, value in values.items()}
        self._transactions.tell(packets.sync_write(register.address, data))
        self._forget_phases(name, tuple(values))

    def read_telemetry(self, servo_ids: Sequence[int]) -> Telemetry:
        """Read the telemetry of servos in one sync read of 15 bytes each.

        Reported errors are in the result, since this is the way to watch a servo that has some.
        A servo's Phase, which determines its units, is read once and cached.

        Raises:
            NoAnswerError: If servos do not answer.
            PortLostError: If the port has gone away.
        """
        unknown = [servo_id for servo_id in servo_ids if servo_id not in self._phases]
        if unknown:
            phase = register_named("Phase")
            answers = self._read(unknown, phase)
            self._phases |= {i: phase.decode(answer.payload) for i, answer in answers.items()}
        answers = self._transactions.ask(
            lambda ids: packets.sync_read(TELEMETRY_ADDRESS, TELEMETRY_LENGTH, ids),
            servo_ids,
            TELEMETRY_LENGTH,
            "SYNC_READ of the telemetry",
        )
        return decode_telemetry(
            {servo_id: answer.payload for servo_id, answer in answers.items()},
            self._phases,
            {servo_id: answer.code for servo_id, answer in answers.items()},
        )

    def reopen(self) -> None:
        """Close the port and open it again, as after a cable was pulled and plugged in again.

        Raises:
            PortLostError: If the port is missing (still).
        """
        self._phases.clear()
        self._transactions.reopen()

    def close(self) -> None:
        """Close the port when the present transaction is over. The servos keep their goals."""
        self._transactions.close()

    def _read(self, servo_ids: Sequence[int], register: Register) -> dict[int, Packet]:
        """Ask for a register: one servo by READ, several by SYNC_READ."""
        address, size = register.address, register.size

        def question(ids: Sequence[int]) -> bytes:
            if len(servo_ids) == 1:
                return packets.read(ids[0], address, size)
            return packets.sync_read(address, size, ids)

        return self._transactions.ask(question, servo_ids, size, f"READ {register.name}")

    def _values(self, register: Register, answers: Mapping[int, Packet]) -> dict[int, int]:
        """Decode the answers and raise the errors that they report."""
        values = {i: register.decode(answer.payload) for i, answer in answers.items()}
        self._raise_faults(answers, values)
        return values

    def _raise_faults(self, answers: Mapping[int, Packet], values: Mapping[int, int]) -> None:
        """Raise the errors that servos report."""
        faults = {i: fault_names(answer.code) for i, answer in answers.items() if answer.code}
        if faults:
            raise ServoFaultError(self.port, faults, values)

    def _forget_phases(self, name: str, servo_ids: Sequence[int]) -> None:
        """Forget units that a write of Phase or ID may have changed."""
        if name in ("Phase", "ID"):
            for servo_id in servo_ids:
                self._phases.pop(servo_id, None)


def _writable(name: str) -> Register:
    """Return the register of a name, which a host may set."""
    register = register_named(name)
    if register.read_only:
        raise ValueError(f"{name} (address {register.address}) is set by the servo alone")
    return register
