"""Observation spaces and their encoders."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.observation_encoder import (
    ObservationEncoder,
    ScaleToUnit,
    VectorEncoder,
    camera_names,
    observation_spaces,
    stored_spaces,
)
from e2hil_rllib.networks.vision_settings import VisionSettings

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
        (gym.spaces.Dict(front=Box(0, 255, (8, 8, 4), np.uint8)), "'front' has shape"),
        (gym.spaces.Dict(front=Box(0, 255, (8, 8, 3))), "'front' has shape .* float32; expected"),
        (gym.spaces.Dict(mode=gym.spaces.Discrete(2)), "'mode' is a Discrete; expected a Box"),
        (Box(-1, 1, (2, 2)), r"shape \(2, 2\) and type float32; expected"),
    ],
)
def test_spaces_that_cannot_be_encoded_are_refused_by_name(space, message):
    with pytest.raises(ValueError, match=message):
        observation_spaces(space)


SEEING = gym.spaces.Dict(
    state=Box(-1, 1, (3,), np.float32),
    front=Box(0, 255, (64, 64, 3), np.uint8),
    wrist=Box(0, 255, (32, 64, 3), np.uint8),
)


def test_cameras_are_the_entries_that_hold_frames():
    assert camera_names(SEEING) == ["front", "wrist"]
    assert camera_names(SEEING["state"]) == []


def test_replay_holds_frames_or_the_features_of_the_frozen_trunk():
    as_frames = stored_spaces(SEEING, VisionSettings())
    assert as_frames["front"] == ((64, 64, 3), np.dtype(np.uint8))
    as_features = stored_spaces(SEEING, VisionSettings(encoder="frozen"))
    assert as_features["wrist"] == ((512, 1, 2), np.dtype(np.float16))
    lite = VisionSettings(encoder="frozen", trunk="efficientnet_lite0", stride=8)
    assert stored_spaces(SEEING, lite)["wrist"] == ((40, 4, 8), np.dtype(np.float16))
    assert as_frames["state"] == as_features["state"] == ((3,), np.dtype(np.float32))


@pytest.mark.parametrize("head", ["spatial", "keypoints"])
@pytest.mark.parametrize(("kind", "stride"), [("cnn", 32), ("frozen", 32), ("frozen", 8)])
def test_observations_encode_as_replay_holds_them(kind, stride, head):
    vision = VisionSettings(encoder=kind, stride=stride, head=head)
    encoder = ObservationEncoder(SEEING, 8, vision)
    batch = {
        key: torch.zeros((5, *shape), dtype=getattr(torch, str(dtype)))
        for key, (shape, dtype) in stored_spaces(SEEING, vision).items()
    }
    noise = NoiseStream(0)
    assert encoder(encoder.augment(batch, noise), noise).shape == (5, encoder.latent_size)
    assert encoder.latent_size == 24


def test_only_frames_of_the_cnn_are_shifted():
    frames = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    batch = {"state": torch.ones(4, 3), "front": frames, "wrist": frames[:, :32]}
    shifted = ObservationEncoder(SEEING, 8).augment(batch, NoiseStream(0))
    assert shifted["state"] is batch["state"]
    assert all(not torch.equal(shifted[key], batch[key]) for key in ("front", "wrist"))
    unshifted = ObservationEncoder(SEEING, 8, VisionSettings(random_shift=0))
    assert unshifted.augment(batch, NoiseStream(0))["front"] is frames
    frozen = ObservationEncoder(SEEING, 8, VisionSettings(encoder="frozen"))
    assert frozen.augment(batch, NoiseStream(0))["front"] is frames


def test_features_are_shifted_where_that_is_asked_for():
    vision = VisionSettings(encoder="frozen", stride=16, feature_shift=1)
    encoder = ObservationEncoder(SEEING, 8, vision)
    features = torch.randn(8, 256, 4, 4)
    batch = {"state": torch.ones(8, 3), "front": features, "wrist": features[:, :, :2]}
    shifted = encoder.augment(batch, NoiseStream(0))
    assert shifted["state"] is batch["state"]
    assert all(not torch.equal(shifted[key], batch[key]) for key in ("front", "wrist"))
    again = encoder.augment(batch, NoiseStream(0))
    assert all(torch.equal(shifted[key], again[key]) for key in batch)


def test_a_flat_observation_of_frames_encodes():
    encoder = ObservationEncoder(SEEING["front"], 8)
    assert encoder(torch.zeros(2, 64, 64, 3, dtype=torch.uint8)).shape == (2, 8)


def test_fine_scales_show_small_differences_as_large_ones():
    """Beside x, in the unit box, stands tanh(k·x) for every k; without any, x alone."""
    box = Box(-2, 2, (3,))
    encoder = VectorEncoder(box, 8, fine_scales=(3, 9))
    linear = encoder[1]
    assert linear.in_features == 9
    seen = []
    linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.tensor([[0.02, -1.0, 2.0]])
    encoder(x)
    unit = x / 2
    expected = torch.cat([unit, torch.tanh(3 * unit), torch.tanh(9 * unit)], dim=-1)
    torch.testing.assert_close(seen[0], expected)
    assert VectorEncoder(box, 8)[1].in_features == 3
