"""Errors of the servo bus, each with the port or motor at fault and a remedy."""

from collections.abc import Mapping

FAULT_BITS = {1: "voltage", 2: "angle sensor", 4: "overheat", 8: "over-current", 32: "overload"}
"""Names of the bits of a status packet's error byte and of the Status register."""

_REMEDIES = {
    "voltage": "check that the power supply fits the servo's voltage limits",
    "angle sensor": "switch the power off and on; replace the servo if it returns",
    "overheat": "switch the torque off and let the servo cool down",
    "over-current": "free the joint, then switch the torque off and on",
    "overload": "free the joint, then switch the torque off and on",
}


def fault_names(error: int) -> tuple[str, ...]:
    """Return the names of the set bits of an error byte; bits without a name keep their number."""
    bits = (1 << place for place in range(8))
    return tuple(FAULT_BITS.get(bit, f"unknown error bit {bit}") for bit in bits if error & bit)


class BusError(RuntimeError):
    """Any failure of the bus or of the motors on it."""


class PortLostError(BusError):
    """The port could not be opened or has disappeared, as with a pulled cable.

    Attributes:
        port: The port's path.
    """

    def __init__(self, port: str, reason: str):
        super().__init__(
            f"port {port} is lost ({reason}): check the USB cable and that no other program uses "
            "the port, then reopen it"
        )
        self.port = port


class NoAnswerError(BusError):
    """Motors did not answer, or not intelligibly, after all retries.

    Attributes:
        port: The port's path.
        servo_ids: Ids of the missing motors.
    """

    def __init__(self, port: str, servo_ids: tuple[int, ...], what: str, attempts: int):
        motors = ", ".join(map(str, servo_ids))
        super().__init__(
            f"no valid answer from motor {motors} on port {port} to {what} in {attempts} attempts: "
            "check the motor's id, its power and cables, and that its Response_Status_Level is 1"
        )
        self.port = port
        self.servo_ids = servo_ids


class ServoFaultError(BusError):
    """Motors answered and reported errors of their own; the request was carried out.

    Attributes:
        faults: Names of the reported errors, by motor id.
        values: Values that were read, by motor id; empty after a write.
    """

    def __init__(self, port: str, faults: Mapping[int, tuple[str, ...]], values: Mapping[int, int]):
        reports = "; ".join(f"motor {i}: {', '.join(names)}" for i, names in faults.items())
        seen = dict.fromkeys(name for names in faults.values() for name in names)
        remedies = [_REMEDIES.get(name, f"look {name} up in the manual") for name in seen]
        super().__init__(f"port {port}, {reports} ({'; '.join(remedies)})")
        self.faults = dict(faults)
        self.values = dict(values)


class TorqueOffError(RuntimeError):
    """An arm whose torque is off was commanded."""
