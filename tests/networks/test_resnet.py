"""The trunk's network: the names and the arithmetic of the public weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from e2hil_rllib.networks.resnet import ResNet10T

# Names, shapes and features of timm's resnet10t with the parameters of `filled_network`.
REFERENCE = Path(__file__).parents[1] / "fixtures" / "resnet10t_reference.npz"


def wave(frequency: float, shape: torch.Size | tuple[int, ...], phase: float = 0.0) -> torch.Tensor:
    count = int(np.prod(shape))
    return torch.from_numpy(np.sin(frequency * np.arange(1, count + 1) + phase)).reshape(shape)


def filled_network() -> ResNet10T:
    network = ResNet10T().eval()
    for name, tensor in network.state_dict().items():
        w = wave(0.37, tensor.shape, phase=len(name))
        if tensor.ndim == 4:
            w = w * np.sqrt(2 / (tensor[0].numel()))
        elif name.endswith("running_var"):
            w = 1 + 0.5 * w.abs()
        elif name.endswith("weight"):
            w = 1 + 0.1 * w
        elif name.endswith("num_batches_tracked"):
            w = torch.zeros(())
        else:
            w = 0.1 * w
        tensor.copy_(w)
    return network


def test_names_and_shapes_are_those_of_the_public_file():
    with np.load(REFERENCE) as reference:
        names, shapes = reference["parameter_names"], reference["parameter_shapes"]
    state = ResNet10T().state_dict()
    assert {n: str(tuple(t.shape)) for n, t in state.items()} == dict(
        zip(names.tolist(), shapes.tolist(), strict=True)
    )


def test_features_are_those_of_timm():
    with np.load(REFERENCE) as reference:
        expected = reference["features"]
    with torch.no_grad():
        features = filled_network()(wave(0.11, (2, 3, 128, 128)).float())
    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(128, 128), (96, 64), (120, 100)])
def test_any_frame_is_reduced_by_32_rounded_up(height, width):
    with torch.no_grad():
        features = ResNet10T().eval()(torch.zeros(1, 3, height, width))
    assert features.shape == (1, 512, -(-height // 32), -(-width // 32))
