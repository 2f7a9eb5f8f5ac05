"""Actions between the environment's box and the cube that policy and critic see."""

import gymnasium as gym
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e2hil_rllib.data.action_scale import ActionScale

SPACE = gym.spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))


def test_the_corners_of_the_box_are_those_of_the_cube():
    scale = ActionScale(SPACE)
    assert scale.to_unit(np.array([-2, 10], np.float32)).tolist() == [-1, 1]
    assert scale.to_unit(np.array([0, 5], np.float32)).tolist() == [0, 0]
    assert scale.to_environment(np.array([1, -1], np.float32)).tolist() == [2, 0]


@given(
    hnp.arrays(np.float32, (3,), elements=st.floats(-1000, 1000, width=32)),
    hnp.arrays(np.float32, (3,), elements=st.floats(0.125, 1000, width=32)),
    hnp.arrays(np.float32, (4, 3), elements=st.floats(0, 1, width=32)),
)
def test_scale_is_its_own_inverse(low, size, share):
    scale = ActionScale(gym.spaces.Box(low, low + size, dtype=np.float32))
    actions = (low + share * size).astype(np.float32)
    unit = scale.to_unit(actions)
    assert np.abs(unit).max() <= 1 + 0.01
    back = scale.to_environment(unit)
    assert np.allclose(back, actions, atol=1e-6 * (np.abs(low).max() + size.max()) * 10)


def test_float32_in_float32_out_also_for_a_box_of_doubles():
    scale = ActionScale(gym.spaces.Box(-2.0, 2.0, (2,), np.float64))
    for convert in (scale.to_unit, scale.to_environment):
        assert convert(np.zeros((3, 2), np.float32)).dtype == np.float32
