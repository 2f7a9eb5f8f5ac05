"""Workspace box."""

import numpy as np
import pytest

from envs.workspace import Workspace, clamp


def test_the_default_box_is_where_the_gripper_can_look_down():
    box = Workspace()
    assert box.low.tolist() == [0.14, -0.15, 0.008]
    assert box.high.tolist() == [0.30, 0.15, 0.15]


def test_axes_left_out_keep_their_defaults():
    box = Workspace.from_options({"x": [0.18, 0.40]})
    assert box.x == (0.18, 0.40)
    assert box.y == Workspace().y


def test_clamp_returns_the_nearest_point_of_the_box():
    box = Workspace()
    inside = np.array([0.2, 0.0, 0.05])
    assert clamp(inside, box).tolist() == inside.tolist()
    assert clamp(np.array([9.0, -9.0, 0.0]), box).tolist() == [0.30, -0.15, 0.008]


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ([0.3, 0.1], "workspace.x"),
        ([0.0, 0.3], "workspace.x"),
        ([0.2, 0.21], "at least 0.04 m long"),
        ([0.2], "lowest, highest"),
        ([0.2, float("nan")], "lowest, highest"),
    ],
)
def test_a_bad_side_is_refused_by_name(side, message):
    with pytest.raises(ValueError, match=message):
        Workspace.from_options({"x": side})


def test_an_unknown_axis_is_refused():
    with pytest.raises(TypeError, match=r"no option 'w'.*\['x', 'y', 'z'\]"):
        Workspace.from_options({"w": [0, 1]})
