"""Success when several of the last frames agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.classifier.debounce import Debounce, episode_figures, first_success
from e2hil_rllib.classifier.metrics import Proportion


@given(frames=st.lists(st.booleans(), max_size=40), agree=st.integers(1, 5), more=st.integers(0, 4))
def test_it_agrees_with_counting_the_last_frames(frames: list[bool], agree: int, more: int) -> None:
    window = agree + more
    debounce = Debounce(agree, window)
    for index, says in enumerate(frames):
        last = frames[max(0, index + 1 - window) : index + 1]
        assert debounce.add(says) == (last.count(True) >= agree)


@given(before=st.lists(st.booleans()), after=st.lists(st.booleans()))
def test_cleared_it_is_as_new(before: list[bool], after: list[bool]) -> None:
    used, new = Debounce(2, 3), Debounce(2, 3)
    for says in before:
        used.add(says)
    used.clear()
    assert [used.add(says) for says in after] == [new.add(says) for says in after]


@pytest.mark.parametrize(
    ("agree", "window", "message"),
    [
        (3, 2, "agree is 3 and window 2"),
        (0, 2, "agree is 0"),
        (1, 0, "window is 0"),
        (1.5, 2, "agree is 1.5"),
        (True, 1, "agree is True"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(agree: int, window: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Debounce(agree, window)


def test_the_frame_of_the_reset_counts_but_never_succeeds() -> None:
    assert first_success(np.array([True, False, False]), 1, 1) is None
    assert first_success(np.array([True, True]), 2, 3) == 1
    assert first_success(np.array([True, False, True]), 2, 3) == 2
    assert first_success(np.array([False, True, False, False, True]), 2, 3) is None


def test_episodes_are_found_missed_or_ended_too_early() -> None:
    truth = [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    predicted = [[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    to_bool = [[np.array(row, bool) for row in rows] for rows in (predicted, truth)]
    assert episode_figures(*to_bool, 1, 1) == {
        "found": Proportion(1, 3),
        "false_end": Proportion(2, 5),
    }
    assert episode_figures(*to_bool, 2, 2) == {
        "found": Proportion(1, 3),  # the second one now ends with the truth, the first never
        "false_end": Proportion(0, 5),
    }
