"""Checks of actions and reset options."""

import numpy as np
import pytest

from envs.checked import ACTION_SIZE, checked_action, checked_start


def test_an_action_is_clipped_to_the_box_and_the_callers_array_stays():
    given = np.array([0.25, -7.0, 1.5, -1.0], np.float32)
    assert checked_action(given).tolist() == [0.25, -1.0, 1.0, -1.0]
    assert given.tolist() == [0.25, -7.0, 1.5, -1.0]
    within = np.array([0.25, -0.5, 1.0, -1.0])
    checked_action(within)[:] = 9.0
    assert within.tolist() == [0.25, -0.5, 1.0, -1.0]


@pytest.mark.parametrize(
    "action", [np.zeros(3), np.zeros((1, ACTION_SIZE)), 0.0, []], ids=lambda each: str(each)
)
def test_an_action_of_another_shape_is_refused_by_its_source(action):
    with pytest.raises(ValueError, match=r"the leader must have shape \(4,\), got shape \("):
        checked_action(action, "the leader")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", range(ACTION_SIZE))
def test_an_action_with_an_entry_that_is_not_finite_is_refused(bad, place):
    action = np.zeros(ACTION_SIZE)
    action[place] = bad
    with pytest.raises(ValueError, match=f"^action must be finite, got .*{bad}"):
        checked_action(action)


def test_a_reset_without_options_has_no_start():
    assert checked_start({}) is None


def test_a_start_is_a_new_array_of_six_angles():
    given = np.arange(6) / 10
    angles = checked_start({"joint_positions": given})
    assert angles.tolist() == given.tolist()
    angles[:] = 9.0
    assert given[1] == 0.1
    assert checked_start({"joint_positions": [0, 1, 2, 3, 4, 5]}).dtype == np.float64


@pytest.mark.parametrize("angles", [[0.0] * 5, [[0.0] * 6], [0.0] * 5 + [np.nan], [np.inf] * 6])
def test_a_start_that_is_not_six_finite_angles_is_refused(angles):
    with pytest.raises(ValueError, match="joint_positions must be 6 finite numbers, got"):
        checked_start({"joint_positions": angles})


def test_other_options_are_refused_by_name():
    options = {"start": 1, "joint_positions": [0.0] * 6, "pose": 2}
    with pytest.raises(ValueError, match=r"\['joint_positions'\], got \['pose', 'start'\]"):
        checked_start(options)
