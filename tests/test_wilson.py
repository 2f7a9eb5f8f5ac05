"""Wilson's interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.wilson import wilson_interval


def test_it_solves_the_score_equation() -> None:
    """Its ends are the shares from which the observed one lies 1.96 standard errors away."""
    share, trials = 0.3, 40
    for end in wilson_interval(share, trials):
        distance = abs(share - end) / (end * (1 - end) / trials) ** 0.5
        assert distance == pytest.approx(1.959964, rel=1e-6)


@given(st.integers(1, 10_000), st.data())
def test_it_holds_the_share_and_stays_within_zero_and_one(trials: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, trials)) / trials
    low, high = wilson_interval(share, trials)
    assert -1e-12 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1 + 1e-12
