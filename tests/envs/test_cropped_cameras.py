"""Cropped and resized frames."""

import numpy as np
import pytest

from envs.cropped_cameras import CroppedCameras
from envs.frames import CameraError
from envs.views import camera_views

VIEWS = camera_views(
    {
        "front": {
            "resolution": [64, 48],
            "crop": {"left": 8, "top": 4, "width": 32, "height": 32},
            "size": 16,
        },
        "wrist": {"resolution": [32, 32], "size": 32},
    }
)


class Noise:
    """Raw cameras whose frames all differ."""

    def __init__(self):
        self.shapes = {"front": (48, 64, 3), "wrist": (32, 32, 3)}
        self.closed = False
        self.black = None
        self._rng = np.random.default_rng(0)

    def read(self):
        self.frames = {
            name: self._rng.integers(0, 256, shape, np.uint8) for name, shape in self.shapes.items()
        }
        if self.black:
            self.frames[self.black][:] = 0
        return self.frames

    def close(self):
        self.closed = True


@pytest.fixture
def cameras():
    return CroppedCameras(Noise(), VIEWS)


def test_frames_are_those_of_the_views(cameras):
    seen = cameras.read()
    raw = cameras._cameras.frames
    assert cameras.shapes == {"front": (16, 16, 3), "wrist": (32, 32, 3)}
    assert {name: frame.shape for name, frame in seen.items()} == cameras.shapes
    assert (seen["front"] == VIEWS["front"].apply(raw["front"])).all()
    assert (seen["wrist"] == raw["wrist"]).all()


def test_raw_returns_the_raw_frames(cameras):
    raw = cameras.raw()
    assert {name: frame.shape for name, frame in raw.items()} == cameras._cameras.shapes
    assert raw is cameras._cameras.frames
    assert cameras.views == VIEWS


def test_close_closes_the_raw_cameras(cameras):
    cameras.close()
    assert cameras._cameras.closed


def test_bad_raw_frames_are_refused(cameras):
    cameras._cameras.black = "front"
    with pytest.raises(CameraError, match="camera 'front' delivered a black frame"):
        cameras.read()


def test_a_raw_frame_of_another_resolution_is_refused(cameras):
    large = {"front": np.ones((96, 128, 3), np.uint8), "wrist": np.ones((32, 32, 3), np.uint8)}
    cameras._cameras.read = lambda: large
    with pytest.raises(CameraError, match=r"shape \(96, 128, 3\), expected uint8 of shape \(48, 6"):
        cameras.read()


@pytest.mark.parametrize("views", [{}, {"front": VIEWS["front"]}, camera_views(["front", "wrist"])])
def test_views_of_other_cameras_are_refused(views):
    with pytest.raises(ValueError, match="give each camera its view, with the camera's resolution"):
        CroppedCameras(Noise(), views)
