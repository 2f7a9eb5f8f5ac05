"""What is measured of an episode."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.data.outcomes import episode_outcome, outcome_rates, wilson_interval


def test_outcomes():
    human = {"is_intervention": True, "succeed": False}
    policy = {"is_intervention": False, "succeed": False}
    done = {"is_intervention": False, "succeed": True}
    helped = episode_outcome([policy, human, done], 1.0)
    assert (helped.num_steps, helped.human_steps) == (3, 1)
    assert (helped.success, helped.autonomous_success) == (True, False)
    alone = episode_outcome([policy, done], 1.0)
    assert alone.autonomous_success is True
    assert episode_outcome([policy], 0.0).autonomous_success is False
    silent = episode_outcome([{}, {}], -5.0)
    assert (silent.success, silent.autonomous_success, silent.human_steps) == (None, None, 0)
    rates = outcome_rates([helped, alone])
    assert rates["success_rate"] == 1
    assert rates["autonomous_success_rate"] == 0.5
    assert rates["intervention_rate"] == pytest.approx(1 / 5)  # of steps, not of episodes
    assert rates["episode_return_mean"] == 1
    assert math.isnan(outcome_rates([silent])["success_rate"])


def test_rates_are_nan_before_the_first_episode():
    assert all(math.isnan(rate) for rate in outcome_rates([]).values())


def test_wilson_interval_solves_the_score_equation() -> None:
    """Its ends are the shares from which the observed one lies 1.96 standard errors away."""
    share, trials = 0.3, 40
    for end in wilson_interval(share, trials):
        distance = abs(share - end) / (end * (1 - end) / trials) ** 0.5
        assert distance == pytest.approx(1.959964, rel=1e-6)


@given(st.integers(1, 10_000), st.data())
def test_wilson_interval_holds_the_share(trials: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, trials)) / trials
    low, high = wilson_interval(share, trials)
    assert -1e-12 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1 + 1e-12
