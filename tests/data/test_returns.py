"""Windows and returns of consecutive steps against a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.data.returns import UNKNOWN, known_returns, n_step_windows

steps = st.lists(
    st.tuples(st.floats(-1, 1, width=32), st.booleans()), min_size=1, max_size=12
)  # reward and who led


@given(steps, st.booleans(), st.integers(1, 5), st.floats(0, 1))
def test_windows_equal_a_plain_loop(steps, terminated, n, gamma):
    rewards = np.array([reward for reward, _ in steps], np.float32)
    human = np.array([led for _, led in steps])
    ends = np.zeros(len(steps), bool)
    ends[-1] = terminated
    found = n_step_windows(rewards, ends, human, gamma=gamma, n_step=n)
    for t in range(len(steps)):
        last, total = t, float(rewards[t])
        while last - t + 1 < n and last + 1 < len(steps) and human[last + 1] == human[t]:
            last += 1
            total += gamma ** (last - t) * float(rewards[last])
        assert found.last[t] == last
        assert found.rewards[t] == pytest.approx(total, abs=1e-5)
        expected = 0.0 if ends[last] else gamma ** (last - t + 1)
        assert found.discounts[t] == pytest.approx(expected, abs=1e-6)


def test_a_window_never_reaches_over_a_change_of_hands():
    """The policy's stuck steps do not earn the person's rescue."""
    human = np.array([False, False, True, True])
    found = n_step_windows(
        np.array([0, 0, 0, 1], np.float32), np.array([0, 0, 0, 1], bool), human, gamma=0.5, n_step=4
    )
    assert found.last.tolist() == [1, 1, 3, 3]
    assert found.rewards.tolist() == [0, 0, 0.5, 1]
    assert found.discounts.tolist() == [0.25, 0.5, 0, 0]


def known(rewards, human, terminated=True, gamma=0.5):
    ends = np.zeros(len(rewards), bool)
    ends[-1] = terminated
    return known_returns(
        np.array(rewards, np.float32), ends, np.array(human, bool), gamma=gamma
    ).tolist()


def test_the_return_is_known_where_the_person_went_on_alone_to_success():
    assert known([0, 0, 0, 1], [1, 0, 1, 1]) == [UNKNOWN, UNKNOWN, 0.5, 1]
    assert known([0, 0, 1], [1, 1, 1]) == [0.25, 0.5, 1]


@pytest.mark.parametrize(
    ("rewards", "human", "terminated"),
    [([0, 1], [1, 0], True), ([0, 1], [1, 1], False), ([0, 0], [1, 1], True)],
    ids=["the policy ended it", "it was cut off", "it failed"],
)
def test_no_other_return_is_known(rewards, human, terminated):
    assert known(rewards, human, terminated) == [UNKNOWN, UNKNOWN]
