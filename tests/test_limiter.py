"""The tie between steps and updates."""

from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.limiter import UpdateLimiter


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
