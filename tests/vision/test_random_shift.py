"""Random shift: each frame is a crop of itself with a repeated border."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from e2hil_rllib.noise import NoiseStream
from e2hil_rllib.vision.random_shift import random_shift


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
