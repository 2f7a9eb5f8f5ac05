"""Faults of the servos and unusable readings, which stop the arm."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from envs.kinematics import JOINTS
from envs.safety_limits import SafetyLimits

FloatArray = NDArray[np.float64]

_OUT_OF_RANGE = 0.35  # [rad]: largest position beyond its limits of a calibrated joint


@dataclass(frozen=True)
class ArmReading:
    """Reading of all servos, in the order of ``envs.kinematics.JOINTS``.

    Attributes:
        time: Time of the reading, on the clock of the commands [s].
        positions: Joint angles, shape (6,) [rad].
        velocities: Joint velocities, shape (6,) [rad/s].
        currents: Motor currents, shape (6,) [A].
        temperatures: Temperatures, shape (6,) [°C].
        voltages: Supply voltages, shape (6,) [V].
        loads: Signed shares of the largest load, shape (6,).

    Raises:
        ValueError: If an entry has another shape.
    """

    time: float
    positions: FloatArray
    velocities: FloatArray
    currents: FloatArray
    temperatures: FloatArray
    voltages: FloatArray
    loads: FloatArray

    def __post_init__(self) -> None:
        for name in _READINGS:
            values = np.array(getattr(self, name), dtype=np.float64)
            if values.shape != (len(JOINTS),):
                raise ValueError(f"the reading's {name} must have shape (6,), got {values.shape}")
            object.__setattr__(self, name, values)


_READINGS = tuple(each.name for each in fields(ArmReading) if each.name != "time")


class Sustained:
    """Detector of a condition that lasts, for each of six joints.

    Args:
        duration: Least duration without a break [s].
    """

    def __init__(self, duration: float) -> None:
        self._duration = duration
        self.reset()

    def reset(self) -> None:
        """Start to count again."""
        self._since = np.full(len(JOINTS), np.nan)

    def update(self, holds: NDArray[np.bool_], time: float) -> NDArray[np.bool_]:
        """Record whether the condition holds at a time, and return whether it has lasted."""
        since = np.where(np.isnan(self._since), time, self._since)
        self._since = np.where(holds, since, np.nan)
        return np.asarray(time - self._since >= self._duration)


class ServoFaults:
    """Detector of faults in temperature, voltage and load of the servos.

    Args:
        limits: Limits of the servos.
    """

    def __init__(self, limits: SafetyLimits) -> None:
        self._limits = limits
        self._lasting = {kind: Sustained(limits.fault_time) for kind in ("heat", "power", "load")}

    def reset(self) -> None:
        """Reset the durations of all faults."""
        for lasting in self._lasting.values():
            lasting.reset()

    def update(self, telemetry: ArmReading) -> list[tuple[str, str]]:
        """Record a reading, and return the present faults.

        Returns:
            Reaction ("hold" or "release") and reason for each kind of fault that is present.
        """
        limits = self._limits
        heat, volts, load = telemetry.temperatures, telemetry.voltages, np.abs(telemetry.loads)
        low_or_high = (volts < limits.min_voltage) | (volts > limits.max_voltage)
        kinds = (
            ("heat", heat > limits.max_temperature, limits.on_temperature),
            ("power", low_or_high, limits.on_voltage),
            ("load", load > limits.max_load, limits.on_load),
        )
        found = []
        for kind, over, reaction in kinds:
            lasted = self._lasting[kind].update(over, telemetry.time)
            if lasted.any():
                found.append((reaction, self._reason(kind, int(lasted.argmax()), telemetry)))
        return found

    def _reason(self, kind: str, joint: int, telemetry: ArmReading) -> str:
        name, limits = JOINTS[joint], self._limits
        if kind == "heat":
            return (
                f"{name} is at {telemetry.temperatures[joint]:.0f} °C, above its limit of "
                f"{limits.max_temperature:.0f} °C: let it cool down"
            )
        if kind == "power":
            return (
                f"{name} has {telemetry.voltages[joint]:.1f} V, expected {limits.min_voltage:g} to "
                f"{limits.max_voltage:g} V: check the power supply and its plugs"
            )
        return (
            f"{name} is under {abs(telemetry.loads[joint]):.0%} load, above its limit of "
            f"{limits.max_load:.0%}: free the arm from what blocks it"
        )


def unusable(
    telemetry: ArmReading | None,
    now: float,
    limits: SafetyLimits,
    low: FloatArray,
    high: FloatArray,
) -> str:
    """Return the reason why a reading is unusable, "" if it is sound.

    Args:
        telemetry: Newest reading; None if there is none.
        now: Current time [s].
        limits: Limits of its age and speed.
        low: Lowest targets, shape (6,) [rad].
        high: Highest targets, shape (6,) [rad].
    """
    if telemetry is None:
        return "the arm has not been read yet: read it before it is moved"
    age = now - telemetry.time
    # A reading from the future comes from another clock, so its age is unknown.
    if not -limits.max_telemetry_age <= age <= limits.max_telemetry_age:
        return (
            f"the newest reading of the arm is {age:.2f} s old, expected at most "
            f"{limits.max_telemetry_age:g} s: check the bus cable and the load of this machine"
        )
    for name in _READINGS:
        finite = np.isfinite(getattr(telemetry, name))
        if not finite.all():
            return f"{JOINTS[int(finite.argmin())]} reads {name} that are not finite: check its bus"
    beyond = np.maximum(low - telemetry.positions, telemetry.positions - high)
    joint = int(beyond.argmax())
    if beyond[joint] > _OUT_OF_RANGE:
        return (
            f"{JOINTS[joint]} reads {telemetry.positions[joint]:.2f} rad, expected "
            f"{low[joint]:.2f} to {high[joint]:.2f} rad: calibrate the arm"
        )
    joint = int(np.abs(telemetry.velocities).argmax())
    if abs(telemetry.velocities[joint]) > limits.max_measured_speed:
        return (
            f"{JOINTS[joint]} reads {telemetry.velocities[joint]:.1f} rad/s, faster than any servo "
            f"here ({limits.max_measured_speed:g} rad/s): check the bus"
        )
    return ""
