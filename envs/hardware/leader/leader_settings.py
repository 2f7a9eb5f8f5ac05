"""Settings of a leader arm."""

from dataclasses import dataclass, field

from envs.hardware.leader.grabbing import GrabRule
from envs.options import number


@dataclass(frozen=True)
class LeaderSettings:
    """Settings of a leader arm that mirrors the follower.

    Attributes:
        rate: Rate at which the arm is read and gets goals [Hz].
        torque: Torque limit of the servos while the arm mirrors, as a share of their stall
            torque; a hand has to be stronger.
        approach_speed: Speed of the fastest joint until the arm is aligned [rad/s].
        speed: Speed of the fastest joint from then on [rad/s]; low enough for its servo to keep
            up against the arm's weight, or the lag would look like a hand.
        clearance: Least height of the TCP above the table while the arm mirrors [m].
        smoothing: Time to make up 63 % of a step of the follower [s].
        grace: Time without motion when mirroring begins, for the hand to let go [s].
        limp_time: Time in which the torque fades where nobody has grabbed the arm [s].
        patience: Longest time that readings may fail before the arm counts as lost [s].
        grab: Rule by which the arm counts as grabbed.

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
