"""Faults of a bad cable between a host and virtual servos."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

_KINDS = ("all", "lost", "late", "truncated", "corrupted", "unheard")


@dataclass(frozen=True)
class FaultRates:
    """Probability of each fault of a packet; an answer has at most one.

    Attributes:
        lost: Probability that an answer is missing.
        late: Probability that an answer comes ``delay`` seconds later.
        truncated: Probability that the end of an answer is missing.
        corrupted: Probability that one to three bytes of an answer are changed.
        delay: Delay of late answers [s].
        unheard: Probability that an instruction is lost, or refused because it was damaged.
    """

    lost: float = 0.0
    late: float = 0.0
    truncated: float = 0.0
    corrupted: float = 0.0
    delay: float = 0.03
    unheard: float = 0.0

    def __post_init__(self) -> None:
        """Check that the rates are probabilities."""
        rates = (self.lost, self.late, self.truncated, self.corrupted)
        if min(rates) < 0 or sum(rates) > 1:
            raise ValueError(f"fault rates {rates} have to be at least 0 and at most 1 together")
        if not 0 <= self.unheard <= 1:
            raise ValueError(f"the rate of unheard instructions is {self.unheard}, not 0 to 1")


class FaultyLine:
    """Line that applies faults to packets, the same ones for the same seed.

    Attributes:
        counts: Number of answers so far: "all", and those that were "lost", "late", "truncated" and
            "corrupted"; and of instructions that were "unheard".
    """

    def __init__(self, rates: FaultRates, seed: int = 0):
        self._rates = rates
        self._rng = np.random.default_rng(seed)
        self._hearing = np.random.default_rng((seed, 1))
        self.counts = Counter(dict.fromkeys(_KINDS, 0))

    def gets_through(self) -> bool:
        """Return whether the next instruction reaches the servos."""
        heard = self._hearing.random() >= self._rates.unheard
        self.counts["unheard"] += not heard
        return bool(heard)

    def pass_on(self, data: bytes) -> tuple[float, bytes]:
        """Return the delay of an answer [s], and the bytes that are left of it."""
        rates = self._rates
        draw = self._rng.random()
        self.counts["all"] += 1
        if draw < rates.lost:
            self.counts["lost"] += 1
            return 0.0, b""
        draw -= rates.lost
        if draw < rates.late:
            self.counts["late"] += 1
            return rates.delay, data
        draw -= rates.late
        if draw < rates.truncated:
            self.counts["truncated"] += 1
            return 0.0, data[: self._rng.integers(len(data))]
        if draw - rates.truncated < rates.corrupted:
            self.counts["corrupted"] += 1
            return 0.0, self._corrupt(data)
        return 0.0, data

    def _corrupt(self, data: bytes) -> bytes:
        """Change one to three bytes."""
        changed = bytearray(data)
        places = self._rng.choice(len(data), size=self._rng.integers(1, 4), replace=False)
        for place in places:
            changed[place] ^= int(self._rng.integers(1, 256))
        return bytes(changed)
