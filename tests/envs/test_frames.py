"""Checks of camera frames."""

import numpy as np
import pytest

from envs.frames import CameraError, check_frames

SHAPES = {"front": (4, 6, 3), "wrist": (2, 2, 3)}


def frames(**changed):
    sound = {name: np.full(shape, 9, np.uint8) for name, shape in SHAPES.items()}
    return sound | changed


def test_sound_frames_pass():
    check_frames(frames(), SHAPES)


def test_a_frame_with_one_lit_pixel_is_accepted():
    nearly_black = np.zeros((2, 2, 3), np.uint8)
    nearly_black[1, 1, 2] = 1
    check_frames(frames(wrist=nearly_black), SHAPES)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((2, 2, 3), np.uint8), "delivered a black frame .* take off its lens cap"),
        (np.ones((2, 2, 3)), r"delivered float64 .* expected uint8 of shape \(2, 2, 3\): check"),
        (np.ones((2, 2), np.uint8), r"delivered uint8 frames of shape \(2, 2\)"),
        (np.ones((4, 6, 3), np.uint8), r"delivered uint8 frames of shape \(4, 6, 3\)"),
        (None, r"delivered object frames of shape \(\)"),
    ],
)
def test_a_bad_frame_is_refused_with_its_camera_and_what_to_do(frame, message):
    with pytest.raises(CameraError, match=f"camera 'wrist' {message}"):
        check_frames(frames(wrist=frame), SHAPES)


def test_a_missing_frame_is_refused():
    with pytest.raises(CameraError, match=r"camera 'wrist' delivered no frame.*check its cable"):
        check_frames({"front": frames()["front"]}, SHAPES)
