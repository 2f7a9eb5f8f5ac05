"""What is measured of an episode."""

import math

import pytest

from e2hil_rllib.data.outcomes import episode_outcome, outcome_rates


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
