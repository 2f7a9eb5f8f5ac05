"""Tally of what a virtual person has done."""

from dataclasses import dataclass


@dataclass
class Tally:
    """Counts of what a person did, over all their modes.

    Attributes:
        episodes: Number of episodes that they saw.
        successes: Number of episodes that they ended as successes.
        takeovers: Number of times that they took the leader.
        led: Time for which they led [s].
    """

    episodes: int = 0
    successes: int = 0
    takeovers: int = 0
    led: float = 0.0

    def __str__(self) -> str:
        """Return the counts in words."""
        return (
            f"{self.episodes} episodes, {self.successes} successes, {self.takeovers} takeovers, "
            f"led for {self.led:.1f} s"
        )
