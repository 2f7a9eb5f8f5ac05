"""Trunk weights without a file: random filters whose features are well scaled."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from e2hil_rllib.networks.trunk_stage import Trunk, TrunkStage

_IMAGES = 32
_IMAGE_SIZE = 64  # [pixels]; a batch of 32 then has 128 places even in the last stage
_SHAPES_PER_IMAGE = 8


def seeded_weights(seed: int, trunk: Trunk) -> dict[str, Tensor]:
    """Random weights of a whole trunk by name, the same for a seed on every machine.

    Filters are drawn as He et al. (2015) propose; each normalisation then gets the mean and the
    variance that it sees on synthetic pictures, so that every channel of the features is of unit
    scale and says something. Random filters tell places and colours apart, not things: the public
    weights see more.

    Everything is drawn by numpy, whose streams are the same everywhere, and the statistics are
    computed in float64 and kept in half precision, so that sums that differ in their last digits
    between machines give the same weights. Torch's generators are not touched.
    """
    rng = np.random.default_rng(np.random.SeedSequence([0x72E5, seed]))
    with torch.device("meta"):
        network = TrunkStage(trunk).network()
    network = network.to_empty(device="cpu").double().train()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            channels = module.out_channels // module.groups
            fan_out = channels * module.kernel_size[0] * module.kernel_size[1]
            scale = np.sqrt(2.0 / fan_out)
            drawn = scale * rng.standard_normal(tuple(module.weight.shape))
            module.weight.data = torch.from_numpy(drawn.astype(np.float32)).double()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            module.momentum = 1.0  # one batch then sets the statistics
    with torch.no_grad():
        # In training mode each layer normalises by this batch, so the next sees scaled input.
        network(torch.from_numpy(synthetic_pictures(rng)))
    weights = {}
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            # Means that cancel to ±1e-17 round to a zero of either sign: + 0.0 makes it +0.
            tensor = tensor.half() + 0.0
        weights[name] = tensor.float() if tensor.is_floating_point() else torch.zeros_like(tensor)
    return weights


def synthetic_pictures(rng: np.random.Generator) -> NDArray[np.float64]:
    """Coloured boxes and ellipses on graded backgrounds, a batch of `_IMAGES`.

    Returns:
        Pictures of shape (B, 3, H, W) with about zero mean and unit variance, as normalised
        frames have.
    """
    pictures = np.stack([_picture(rng) for _ in range(_IMAGES)])
    return (pictures - 0.45) / 0.25


def _picture(rng: np.random.Generator) -> NDArray[np.float64]:
    """One picture in [0, 1], shape (3, H, W)."""
    y, x = np.mgrid[0:_IMAGE_SIZE, 0:_IMAGE_SIZE] / _IMAGE_SIZE
    colors = rng.uniform(0, 1, (3, 3, 1, 1))
    picture = colors[0] + (colors[1] - colors[0]) * x + (colors[2] - colors[0]) * y
    for _ in range(_SHAPES_PER_IMAGE):
        center_y, center_x = rng.uniform(0, 1, 2)
        height, width = rng.uniform(0.05, 0.3, 2)
        across, along = np.abs(x - center_x) / width, np.abs(y - center_y) / height
        is_box = rng.random() < 0.5
        inside = np.maximum(across, along) < 1 if is_box else across**2 + along**2 < 1
        picture = np.where(inside, rng.uniform(0, 1, (3, 1, 1)), picture)
    return np.clip(picture + rng.normal(0, 0.02, picture.shape), 0, 1)
