"""The tie between steps and updates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.learning.update_limiter import UpdateLimiter


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 20), st.integers(1, 30)
)
def test_every_step_after_the_start_owes_exactly_utd_updates(chunks, utd_ratio, start):
    limiter = UpdateLimiter(utd_ratio, start)
    for chunk in chunks:
        limiter.inserted(chunk)
        while limiter.owes_update():
            limiter.updated()
        assert limiter.updates == utd_ratio * max(0, limiter.env_steps - start + 1)


def test_the_count_goes_on_after_a_restore():
    limiter = UpdateLimiter(2, 1)
    limiter.inserted(10)
    limiter.updated()
    restored = UpdateLimiter(2, 1)
    restored.set_state(limiter.state())
    assert restored.state() == limiter.state() == {"env_steps": 10, "updates": 2}
    assert restored.owes_update()


RATIOS = st.sampled_from([(0.0, 0.5), (0.25, 4.0), (1.0, 1.0), (2.0, 7.5)])


@given(
    RATIOS,
    st.integers(1, 4),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 200)), min_size=1, max_size=30),
)
def test_a_learner_that_runs_freely_stays_between_the_two_ratios(ratios, utd_ratio, start, rounds):
    lowest, highest = ratios
    limiter = UpdateLimiter(utd_ratio, start, lowest, highest)
    for steps, patience in rounds:
        limiter.inserted(steps)
        while limiter.owes_update():
            assert limiter.allows_update()
            limiter.updated()
        for _ in range(patience):
            if limiter.allows_update():
                limiter.updated()
        counted = max(0, limiter.env_steps - start + 1)
        assert lowest * counted <= limiter.updates < highest * counted + utd_ratio
        if not limiter.allows_update():
            assert limiter.updates >= highest * counted, "it may do all that the ratio allows"


@pytest.mark.parametrize("ratios", [(), (0.25, 4.0), (2.0, None)])
def test_before_the_learning_starts_no_update_is_owed_or_allowed(ratios):
    limiter = UpdateLimiter(2, 5, *ratios)
    for _ in range(4):
        assert not limiter.owes_update() and not limiter.allows_update()
        limiter.inserted(1)
    limiter.inserted(1)
    assert limiter.owes_update() and limiter.allows_update()


def test_without_ratios_no_more_is_allowed_than_is_owed():
    for limiter in (UpdateLimiter(3, 1), UpdateLimiter(3, 1, lowest=1.5)):
        limiter.inserted(4)
        while limiter.allows_update():
            assert limiter.owes_update()
            limiter.updated()
        assert not limiter.owes_update()
