"""Encoders of frames: sizes, what a head can tell apart, and seeded dropout."""

import numpy as np
import pytest
import torch

from e2hil_rllib.networks.camera_encoders import (
    DROPOUT,
    KEYPOINTS,
    SPATIAL_FEATURES,
    ConvolutionalEncoder,
    ConvolutionalTrunk,
    KeypointHead,
    SpatialHead,
    batch_channels_last,
)
from e2hil_rllib.networks.noise import NoiseStream


@pytest.mark.parametrize("side", [(128, 128), (64, 96), (50, 33)])
def test_the_announced_feature_shape_is_that_of_the_features(side):
    trunk = ConvolutionalTrunk()
    frames = torch.zeros((2, *side, 3), dtype=torch.uint8)
    assert trunk(frames).shape == (2, *trunk.feature_shape((*side, 3)))
    assert ConvolutionalEncoder((*side, 3), 16)(frames).shape == (2, 16)


def test_frames_keep_their_pixels_and_their_layout():
    frames = torch.randint(0, 256, (2, 8, 6, 3), dtype=torch.uint8)
    images = batch_channels_last(frames)
    assert images.shape == (2, 3, 8, 6)
    assert images[1, 2, 5, 4] == frames[1, 5, 4, 2]
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_spatial_embedding_is_its_definition():
    torch.manual_seed(0)
    head = SpatialHead((5, 2, 3), 4)
    features = torch.randn(7, 5, 2, 3)
    kernel = head.kernel.view(5, 2, 3, SPATIAL_FEATURES)
    embedding = torch.einsum("bchw,chwf->bcf", features, kernel).flatten(1)
    expected = torch.tanh(head.norm(head.linear(embedding)))
    assert torch.allclose(head(features), expected, atol=1e-6)
    assert torch.allclose(head(features.half()), expected, atol=5e-3)


def test_a_head_sees_where_something_is():
    head = SpatialHead((1, 4, 4), 8)
    left, right = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    left[..., 0], right[..., 3] = 1, 1
    assert (head(left) - head(right)).abs().max() > 0.1


def test_dropout_is_seeded_keeps_the_mean_and_is_off_without_noise():
    head = SpatialHead((64, 4, 4), 8)
    features = torch.ones(64, 64, 4, 4)
    kept = NoiseStream(0).keep_mask(torch.empty(64, 512), 1 - DROPOUT)
    assert np.isclose(kept.float().mean(), 1 - DROPOUT, atol=0.01)
    drawn = [head(features, NoiseStream(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(head(features), head(features))
    assert not torch.equal(drawn[0][0], drawn[0][1])  # each sample drops its own


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 1), (2, 5)])
def test_a_keypoint_is_the_place_of_a_single_hot_cell_and_how_hot_it_is(row, column):
    head = KeypointHead((1, 4, 6), 8)
    with torch.no_grad():
        head.maps.weight.fill_(2)
        head.maps.bias.fill_(0.5)
    features = torch.zeros(3, 1, 4, 6, dtype=torch.float16)
    features[1, 0, row, column] = 50
    keypoints = head.keypoints(features)
    assert keypoints.shape == (3, KEYPOINTS, 3)
    hot = 24**0.5  # over the root mean square of 24 cells of which one is not zero
    place = torch.tensor([(2 * column + 1) / 6 - 1, (2 * row + 1) / 4 - 1, 2 * hot + 0.5])
    torch.testing.assert_close(keypoints[1], place.expand(KEYPOINTS, 3))
    nowhere = torch.tensor([0.0, 0.0, 0.5])
    torch.testing.assert_close(keypoints[0], nowhere.expand(KEYPOINTS, 3), atol=1e-6, rtol=0)


def test_keypoints_are_those_of_a_convolution_and_a_softmax_whatever_the_features_scale():
    torch.manual_seed(0)
    head = KeypointHead((5, 4, 6), 8)
    features = 3 * torch.randn(2, 5, 4, 6)
    scaled = features / features.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    kernel = head.maps.weight[..., None, None]
    maps = torch.nn.functional.conv2d(scaled, kernel, head.maps.bias)
    shares = torch.softmax(maps.flatten(2) / head.log_temperature.exp()[:, None], dim=-1)
    x = (shares.unflatten(2, (4, 6)).sum(dim=2) * (torch.arange(6) / 3 - 5 / 6)).sum(dim=2)
    y = (shares.unflatten(2, (4, 6)).sum(dim=3) * (torch.arange(4) / 2 - 3 / 4)).sum(dim=2)
    expected = torch.stack([x, y, maps.amax(dim=(2, 3))], dim=2)
    torch.testing.assert_close(head.keypoints(features), expected)
    torch.testing.assert_close(head.keypoints(10 * features), expected)


def test_a_higher_temperature_draws_a_keypoint_to_the_middle():
    head = KeypointHead((1, 4, 4), 8)
    with torch.no_grad():
        head.maps.weight.fill_(1)
    features = torch.zeros(1, 1, 4, 4)
    features[..., 0, 0] = 5
    sharp = head.keypoints(features)[..., :2]
    with torch.no_grad():
        head.log_temperature.fill_(2)
    blurred = head.keypoints(features)[..., :2]
    assert (blurred.abs() < sharp.abs()).all() and (blurred < 0).all()


def test_the_keypoint_head_ends_in_linear_norm_and_tanh():
    head = KeypointHead((5, 2, 3), 4)
    features = torch.randn(7, 5, 2, 3)
    expected = torch.tanh(head.norm(head.linear(head.keypoints(features).flatten(1))))
    assert torch.equal(head(features, NoiseStream(0)), expected)
    assert expected.shape == (7, 4)


@pytest.mark.parametrize("head", ["spatial", "keypoints"])
def test_every_layer_of_the_cnn_learns(head):
    encoder = ConvolutionalEncoder((32, 32, 3), 8, head)
    encoder(torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
