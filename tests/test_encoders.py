"""Observation spaces and their encoders."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from e2hil_rllib.encoders import ObservationEncoder, ScaleToUnit, observation_spaces

Box = gym.spaces.Box


def test_finite_bounds_scale_to_the_unit_box_and_infinite_ones_pass():
    space = Box(np.array([-2, 0, -np.inf, 3], np.float32), np.array([2, 10, np.inf, 3], np.float32))
    scaled = ScaleToUnit(space)(torch.tensor([[2.0, 0.0, 7.0, 3.0], [-2.0, 10.0, -7.0, 3.0]]))
    assert scaled.tolist() == [[1.0, -1.0, 7.0, 3.0], [-1.0, 1.0, -7.0, 3.0]]


def test_dict_and_flat_observations_encode():
    box = Box(-1, 1, (3,), np.float32)
    flat = ObservationEncoder(box, 8)
    assert flat(torch.zeros(5, 3)).shape == (5, 8)
    both = ObservationEncoder(gym.spaces.Dict(state=box, objects=Box(-1, 1, (2,))), 8)
    assert both.latent_size == 16
    assert both({"state": torch.zeros(5, 3), "objects": torch.zeros(5, 2)}).shape == (5, 16)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gym.spaces.Dict(front=Box(0, 255, (8, 8, 3), np.uint8)), "'front' is an image"),
        (gym.spaces.Dict(mode=gym.spaces.Discrete(2)), "'mode' is a Discrete; expected a Box"),
        (Box(-1, 1, (2, 2)), r"shape \(2, 2\); expected \(n,\)"),
    ],
)
def test_spaces_that_cannot_be_encoded_are_refused_by_name(space, message):
    with pytest.raises(ValueError, match=message):
        observation_spaces(space)
