"""How a leader arm is driven."""

from dataclasses import dataclass, field

from envs.hardware.leader.grabbing import GrabRule
from envs.options import number


@dataclass(frozen=True)
class LeaderSettings:
    """How a leader arm mirrors the follower.

    Attributes:
        rate: How often it is read and sent to [Hz].
        torque: The most that its servos may pull with while it mirrors, as a share of their
            stall torque; a hand has to be stronger.
        approach_speed: Of the fastest joint, until it is where the follower is [rad/s].
        speed: Of the fastest joint from then on [rad/s]; one that its servo can do against the
            arm's weight, or it would lag behind as if a hand held it.
        clearance: The TCP is kept this high above the table while it mirrors [m].
        smoothing: How long it takes to make up 63 % of a step of the follower [s].
        grace: How long it stands still when it begins to mirror, for the hand to let go [s].
        limp_time: How long its torque takes to go off where nobody has grabbed it [s].
        patience: Readings may fail for so long before it counts as lost [s].
        grab: When it counts as grabbed.

    Raises:
        ValueError: If an entry is out of its range.
    """

    rate: float = 50.0
    torque: float = 0.6
    approach_speed: float = 0.5
    speed: float = 1.0
    clearance: float = 0.03
    smoothing: float = 0.06
    grace: float = 1.0
    limp_time: float = 0.5
    patience: float = 0.5
    grab: GrabRule = field(default_factory=GrabRule)

    def __post_init__(self) -> None:
        """Check the entries."""
        number("leader.rate", self.rate, 20.0, 100.0)
        number("leader.torque", self.torque, 0.1, 0.8)
        number("leader.approach_speed", self.approach_speed, 0.05, 1.0)
        number("leader.speed", self.speed, 0.5, 4.0)
        number("leader.clearance", self.clearance, 0.0, 0.1)
        number("leader.smoothing", self.smoothing, 0.01, 0.5)
        number("leader.grace", self.grace, 0.0, 5.0)
        number("leader.limp_time", self.limp_time, 0.1, 3.0)
        number("leader.patience", self.patience, 0.1, 5.0)
