"""Settings of a physical arm."""

from dataclasses import dataclass, field

from envs.hardware.letting_go.letting_go import LettingGo
from envs.options import number, one_of


@dataclass(frozen=True)
class ArmSettings:
    """Settings of a physical arm.

    Attributes:
        control_hz: Number of commands per second [Hz].
        ramp_hz: Number of goals per second between two commands [Hz]; a servo overshoots
            a step and follows a ramp.
        reset_speed: Speed of the fastest joint in a reset and on the way to rest [rad/s].
        reset_tolerance: Largest final error of each joint but the gripper then [rad].
        patience: Longest time that readings may fail before the run ends [s]; the arm holds.
        on_return: What happens when a lost port is back: "hold" or "release" (the arm drops).
        letting_go: Settings of what closing the arm does.

    Raises:
        ValueError: If an entry is out of its range.
    """

    control_hz: float = 10.0
    ramp_hz: float = 50.0
    reset_speed: float = 0.6
    reset_tolerance: float = 0.1
    patience: float = 1.0
    on_return: str = "hold"
    letting_go: LettingGo = field(default_factory=LettingGo)

    def __post_init__(self) -> None:
        """Check the entries."""
        number("arm.control_hz", self.control_hz, 1.0, 100.0)
        number("arm.ramp_hz", self.ramp_hz, 1.0, 200.0)
        number("arm.reset_speed", self.reset_speed, 0.05, 2.0)
        number("arm.reset_tolerance", self.reset_tolerance, 0.01, 0.5)
        number("arm.patience", self.patience, 0.1, 10.0)
        one_of("arm.on_return", self.on_return, ("hold", "release"))
