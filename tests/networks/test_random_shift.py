"""Random shift: each frame is a crop of itself with a repeated border."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.random_shift import random_feature_shift, random_shift


def crops(frame: np.ndarray, padding: int) -> list[np.ndarray]:
    """All frames that a shift may give."""
    height, width = frame.shape[:2]
    padded = np.pad(frame, [(padding, padding), (padding, padding), (0, 0)], mode="edge")
    return [
        padded[y : y + height, x : x + width]
        for y in range(2 * padding + 1)
        for x in range(2 * padding + 1)
    ]


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 4), st.integers(0, 2**31))
def test_each_frame_is_one_of_its_crops(height, width, padding, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (3, height, width, 3), np.uint8)
    shifted = random_shift(torch.from_numpy(frames), padding, NoiseStream(seed))
    assert shifted.dtype == torch.uint8
    for frame, result in zip(frames, shifted.numpy(), strict=True):
        assert any(np.array_equal(result, crop) for crop in crops(frame, padding))


def test_all_shifts_come_up_and_frames_are_shifted_independently():
    frame = np.arange(12 * 12 * 3, dtype=np.uint8).reshape(12, 12, 3)
    frames = torch.from_numpy(np.repeat(frame[None], 2000, axis=0))
    shifted = random_shift(frames, 2, NoiseStream(0))
    assert len(torch.unique(shifted.flatten(1), dim=0)) == 25


def test_two_learners_shift_what_one_would():
    frames = torch.randint(0, 256, (8, 9, 9, 3), dtype=torch.uint8)
    whole = random_shift(frames, 3, NoiseStream(5))
    halves = [random_shift(frames[i * 4 :][:4], 3, NoiseStream(5, i, 2)) for i in range(2)]
    assert torch.equal(whole, torch.cat(halves))


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(1, 3), st.integers(0, 2**31))
def test_features_are_shifted_by_whole_cells_as_frames_are_by_pixels(height, width, padding, seed):
    maps = np.random.default_rng(seed).standard_normal((3, 4, height, width)).astype(np.float16)
    shifted = random_feature_shift(torch.from_numpy(maps), padding, NoiseStream(seed))
    assert shifted.shape == maps.shape and shifted.dtype == torch.float16
    for one, result in zip(maps, shifted.numpy(), strict=True):
        cells = np.moveaxis(one, 0, -1)
        found = np.moveaxis(result, 0, -1)
        assert any(np.array_equal(found, crop) for crop in crops(cells, padding))


def test_all_shifts_of_features_come_up_and_a_seed_gives_them_again():
    one = torch.arange(36.0).reshape(1, 1, 6, 6).expand(500, -1, -1, -1)
    shifted = random_feature_shift(one, 1, NoiseStream(0))
    assert len(torch.unique(shifted.flatten(1), dim=0)) == 9
    assert torch.equal(shifted, random_feature_shift(one, 1, NoiseStream(0)))
    assert not torch.equal(shifted, random_feature_shift(one, 1, NoiseStream(1)))


def test_two_learners_shift_the_features_that_one_would():
    maps = torch.randn(8, 2, 4, 4)
    whole = random_feature_shift(maps, 1, NoiseStream(5))
    halves = [random_feature_shift(maps[i * 4 :][:4], 1, NoiseStream(5, i, 2)) for i in range(2)]
    assert torch.equal(whole, torch.cat(halves))
