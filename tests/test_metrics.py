"""What is measured of an episode."""

from e2hil_rllib.metrics import episode_outcome


def test_outcomes():
    human = {"is_intervention": True, "succeed": False}
    policy = {"is_intervention": False, "succeed": False}
    done = {"is_intervention": False, "succeed": True}
    helped = episode_outcome([policy, human, done])
    assert (helped.num_steps, helped.human_steps) == (3, 1)
    assert (helped.success, helped.autonomous_success) == (True, False)
    alone = episode_outcome([policy, done])
    assert alone.autonomous_success is True
    assert episode_outcome([policy]).autonomous_success is False
    silent = episode_outcome([{}, {}])
    assert (silent.success, silent.autonomous_success, silent.human_steps) == (None, None, 0)
