"""Limits of the safety layer: figures, their ranges, and the options they are read from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.kinematics import JOINTS
from envs.options import mapping, number, one_of, refuse_unknown
from envs.workspace import Workspace

REACTIONS = ("hold", "release")
"""Reactions to a servo beyond its limit: stand still, or torque off (the arm drops)."""

_RANGES = {
    "workspace_tolerance": (0.0, 0.02),
    "max_step": (0.005, 1.0),
    "max_speed": (0.05, 6.0),
    "first_speed": (0.01, 6.0),
    "ramp_time": (0.1, 10.0),
    "max_lead": (0.05, 3.0),
    "grip_current": (0.05, 2.7),
    "grip_time": (0.1, 10.0),
    "grip_relief": (0.0, 0.95),
    "max_measured_speed": (1.0, 50.0),
    "max_temperature": (30.0, 80.0),
    "min_voltage": (3.0, 14.0),
    "max_voltage": (3.0, 14.0),
    "max_load": (0.05, 1.0),
    "fault_time": (0.0, 10.0),
    "max_telemetry_age": (0.02, 2.0),
    "command_timeout": (0.05, 5.0),
}


@dataclass(frozen=True)
class SafetyLimits:
    """Limits of everything that is sent to an arm.

    Attributes:
        workspace: Box for the TCP.
        workspace_tolerance: Largest distance of a target's TCP beyond the box [m], for the errors
            of inverse kinematics and of straight ways between two targets.
        joints: Lowest and highest target of the joints with less than their full range [rad].
        max_step: Largest change of a joint's target from one command to the next [rad].
        max_speed: Largest speed of a joint's target [rad/s].
        first_speed: Largest speed right after connecting, a hold or a takeover, and wherever the
            arm is outside of the box [rad/s].
        ramp_time: Time from ``first_speed`` to ``max_speed`` [s].
        max_lead: Largest distance of a joint's target from the joint [rad], which bounds the
            pressure of a blocked arm. The gripper is limited by its current instead.
        grip_current: Current above which a gripper counts as stalled [A].
        grip_time: Longest time that a gripper may be stalled [s].
        grip_relief: Share of the gripper's lead that it keeps when it is loosened.
        max_measured_speed: Highest believed speed of a joint; faster readings are wrong [rad/s].
        max_temperature: Highest temperature of a servo [°C].
        min_voltage: Lowest supply voltage of a servo [V]; set both to the supply in use.
        max_voltage: Highest supply voltage of a servo [V].
        max_load: Highest load of a servo, as a share of its largest.
        fault_time: Time for which temperature, voltage or load must be out of their limits to
            count [s], so that one bad reading does not.
        on_temperature: Reaction when a servo is too hot: "hold" or "release" (the arm drops).
        on_voltage: Reaction when the voltage of a servo is out of range.
        on_load: Reaction when the load of a servo is too high.
        max_telemetry_age: Highest age of a reading that is used [s].
        command_timeout: Time without a command after which the arm holds [s].

    Raises:
        TypeError: If ``joints`` is no mapping or names a joint that does not exist.
        ValueError: If a figure is out of its range or two of them contradict each other.
    """

    workspace: Workspace = field(default_factory=Workspace)
    workspace_tolerance: float = 0.005
    joints: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    max_step: float = 0.3
    max_speed: float = 3.0
    first_speed: float = 0.3
    ramp_time: float = 1.0
    max_lead: float = 0.6
    grip_current: float = 0.8
    grip_time: float = 1.0
    grip_relief: float = 0.5
    max_measured_speed: float = 10.0
    max_temperature: float = 60.0
    min_voltage: float = 4.5
    max_voltage: float = 13.0
    max_load: float = 0.9
    fault_time: float = 0.5
    on_temperature: str = "hold"
    on_voltage: str = "hold"
    on_load: str = "hold"
    max_telemetry_age: float = 0.3
    command_timeout: float = 0.5

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            object.__setattr__(self, name, number(f"safety.{name}", getattr(self, name), low, high))
        for name in ("on_temperature", "on_voltage", "on_load"):
            one_of(f"safety.{name}", getattr(self, name), REACTIONS)
        for low_name, high_name in (("min_voltage", "max_voltage"), ("first_speed", "max_speed")):
            if getattr(self, low_name) > getattr(self, high_name):
                raise ValueError(
                    f"safety.{low_name} is {getattr(self, low_name):g}, above safety.{high_name} "
                    f"of {getattr(self, high_name):g}: lower the one or raise the other"
                )
        refuse_unknown(mapping("safety.joints", self.joints), JOINTS, "safety.joints")

    @classmethod
    def from_options(cls, options: Any, workspace: Workspace | None = None) -> "SafetyLimits":
        """Build limits from a mapping of field names to values; missing ones have their defaults.

        Args:
            options: Mapping of any fields but ``workspace``; None for the defaults.
            workspace: Box of the environment.

        Raises:
            TypeError: If an option is unknown, or the options are no mapping.
            ValueError: If a value is out of its range.
        """
        given = mapping("safety", {} if options is None else options)
        names = {each.name for each in fields(cls)} - {"workspace"}
        refuse_unknown(given, names, "safety")
        return cls(workspace=workspace or Workspace(), **given)

    def joint_limits(
        self, lowest: NDArray[np.float64], highest: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lowest and highest targets, each of shape (6,) [rad].

        Args:
            lowest: Lowest joint angles of the arm, shape (6,) [rad].
            highest: Highest joint angles of the arm, shape (6,) [rad].

        Raises:
            ValueError: If the limits of a joint are no range within its full range.
        """
        low, high = lowest.copy(), highest.copy()
        for joint, limits in self.joints.items():
            index, where = JOINTS.index(joint), f"safety.joints.{joint}"
            if not isinstance(limits, (list, tuple)) or len(limits) != 2:
                raise ValueError(f"{where} must be [lowest, highest] in rad, got {limits!r}")
            low[index], high[index] = (
                number(where, limit, float(lowest[index]), float(highest[index]))
                for limit in limits
            )
            if low[index] >= high[index]:
                raise ValueError(f"{where} must be [lowest, highest] in rad, got {limits!r}")
        return low, high
