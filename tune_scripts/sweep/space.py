"""Search space of a sweep: settings and ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.settings.presets import PAPER

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = dict[str, float | int]
"""Value of each searched setting, by its key."""


@dataclass(frozen=True)
class Searched:
    """Searched setting.

    Attributes:
        key: Dotted key of the settings file.
        low: Lowest value.
        high: Highest value, included.
        step: Distance of two values; None draws any. Settings with a whole default stay whole.
        log: Whether to draw evenly on a logarithmic scale.
        help: Meaning of the setting.
        reason: Reason for the range.
    """

    key: str
    low: float
    high: float
    step: float | None
    log: bool
    help: str
    reason: str

    @property
    def name(self) -> str:
        """Key without its section, the name of the column."""
        return self.key.rsplit(".", 1)[-1]

    @property
    def paper(self) -> float | int:
        """Value of the paper."""
        value: float | int = getattr(E2HiLConfig().preset(PAPER), self.name)
        return value

    def distribution(self) -> BaseDistribution:
        """Return the range as a distribution of Optuna."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.paper, int):
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


SEARCHED = (
    Searched(
        "entropy_selection.upper_percentile", 70.0, 100.0, 1.0, False,
        help="Samples above it are left out as shortcuts; 100 keeps them.",
        reason="100 is without the bound; at 70, three times as many are left out as in the paper.",
    ),
    Searched(
        "entropy_selection.lower_percentile", 0.0, 25.0, 1.0, False,
        help="Samples below it are left out as noise; 0 keeps them.",
        reason="0 is without the bound; at 25, five times as many are left out as in the paper.",
    ),
    Searched(
        "entropy_selection.num_action_samples", 2, 32, None, True,
        help="K, actions drawn for each state to estimate its influence.",
        reason="2 is the least a covariance needs; with 32 the mask's noise is half of that at 8.",
    ),
    Searched(
        "training.utd_ratio", 1, 8, None, True,
        help="Minibatches per environment step.",
        reason="1 is plain SAC; beyond 8 an arm at 10 Hz would wait for its learner.",
    ),
    Searched(
        "training.initial_alpha", 1e-3, 1.0, None, True,
        help="Temperature at the start, which decides how fast entropy falls at first.",
        reason="1 is SAC's usual one; rewards are 0 or 1, so that 0.001 is as good as none.",
    ),
    Searched(
        "human_in_the_loop.demonstration_fraction", 0.0, 0.75, 0.05, False,
        help="Share of every batch that comes from the demonstration buffer.",
        reason="0 leaves the demonstrations out; above 0.75, new samples are hardly learned from.",
    ),
)  # fmt: skip
"""Searched settings, in the order of columns."""


def paper_values() -> Values:
    """Return the reference point of every sweep."""
    return {searched.key: searched.paper for searched in SEARCHED}
