"""What a virtual person has done so far."""

from dataclasses import dataclass


@dataclass
class Tally:
    """Counts over all that a person did, whatever they were told to do.

    Attributes:
        episodes: That they saw.
        successes: Episodes that they ended as such.
        takeovers: How often they took the leader.
        led: How long they led [s].
    """

    episodes: int = 0
    successes: int = 0
    takeovers: int = 0
    led: float = 0.0

    def __str__(self) -> str:
        """In words."""
        return (
            f"{self.episodes} episodes, {self.successes} successes, {self.takeovers} takeovers, "
            f"led for {self.led:.1f} s"
        )
