"""Segments: lengths, numbers, and runs of one source."""

import dataclasses
import math

import numpy as np
import pytest

from e2hil_rllib.data.transitions import INTERVENTION, POLICY, Transitions
from tests.helpers import make_transitions


def test_parts_keep_the_frame_that_followed():
    part = make_transitions(0, range(10, 20)).part(3, 5)
    assert part.first_step == 13
    assert part.observations["state"][:, 0].tolist() == [13, 14, 15]


def test_runs_of_a_source_end_with_the_frame_that_followed():
    source = np.array([0, 1, 1, 0, 0, 1], np.uint8)
    runs = list(make_transitions(0, range(6), source=source).runs_of(INTERVENTION))
    assert [run.first_step for run in runs] == [1, 5]
    assert [run.observations["state"][:, 0].tolist() for run in runs] == [[1, 2, 3], [5, 6]]
    assert not list(make_transitions(0, range(3)).runs_of(INTERVENTION))


@pytest.mark.parametrize(
    ("source", "after_human", "takeovers"),
    [
        ([0, 1, 1, 0, 1], False, 2),
        ([1, 1, 0], False, 1),  # a human begins the episode
        ([1, 1, 0, 1], True, 1),  # one who has taken over before goes on
        ([0, 0], True, 0),
        ([2, 2, 0], False, 0),
        ([], False, 0),
    ],
)
def test_a_takeover_is_a_change_of_control_to_the_human(source, after_human, takeovers):
    steps = range(len(source))
    segment = make_transitions(0, steps, source=np.array(source, np.uint8))
    segment = dataclasses.replace(segment, after_human=after_human)
    assert segment.takeovers == takeovers
    for cut in steps:
        first, second = segment.part(0, cut), segment.part(cut, len(source))
        assert first.takeovers + second.takeovers == takeovers


def test_the_highest_return_is_that_of_the_step_with_the_best_rest():
    segment = make_transitions(0, range(4))
    segment.rewards[:] = 4, -8, 2, 2
    assert segment.return_range(0.5)[1] == 3
    assert segment.return_range(0)[1] == 4
    assert segment.part(2, 2).return_range(0.5) == (math.inf, -math.inf)


@pytest.mark.parametrize("field", ["rewards", "actions", "observation"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_its_step(field, value):
    segment = make_transitions(7, range(20, 24))
    arrays = {
        "rewards": segment.rewards, "actions": segment.actions,
        "observation": segment.observations["state"],
    }  # fmt: skip
    arrays[field][2] = value
    with pytest.raises(ValueError, match=r"episode 7, step 22: .*not finite"):
        segment.part(0, 4)


def test_lengths_that_do_not_fit_are_refused():
    segment = make_transitions(0, range(3))
    with pytest.raises(ValueError, match="observation 'state' covers 2 steps, actions 3"):
        Transitions(
            0, 0, {"state": segment.observations["state"][:-1]}, segment.actions, segment.rewards,
            segment.terminated, np.full(3, POLICY, np.uint8),
        )  # fmt: skip
