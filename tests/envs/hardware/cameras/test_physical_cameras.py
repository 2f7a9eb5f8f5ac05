"""Camera threads with cameras that come, go, freeze and repeat; without OpenCV."""

import threading
import time

import numpy as np
import pytest

from envs.cropped_cameras import CroppedCameras
from envs.frames import CameraError
from envs.hardware.cameras.physical_cameras import CameraSettings, OpenCVCameras
from envs.views import CameraView
from tests.patience import stretched, wait_until

pytestmark = pytest.mark.realtime

SIZE = (32, 24)
PERIOD = 0.01


class FakeCamera:
    """Camera that delivers a new picture every 10 ms, until a test changes that."""

    def __init__(self, **settings):
        self.settings = CameraSettings(0, SIZE, **{"stale_after": 0.3, "fps": 100.0, **settings})
        self.plugged = True
        self.repeats = self.silent = False
        self.period = PERIOD
        self.number = self.opened = self.released = 0
        self.last_read = 0.0

    def read(self):
        started = time.monotonic()
        while self.plugged and (self.silent or time.monotonic() < started + self.period):
            time.sleep(0.005)
            if time.monotonic() > started + 1.0:
                raise CameraError("the camera timed out")
        if not self.plugged:
            raise CameraError("the cable is pulled")
        self.number += not self.repeats
        self.last_read = time.monotonic()
        return np.full((SIZE[1], SIZE[0], 3), self.number % 256, np.uint8), self.last_read

    def release(self):
        self.released += 1


def opened(**cameras):
    """Return cameras that read fakes."""

    def open_capture(name, _):
        camera = cameras[name]
        if not camera.plugged:
            raise CameraError(f"camera {name!r} cannot be opened")
        camera.opened += 1
        return camera

    settings = {name: camera.settings for name, camera in cameras.items()}
    return OpenCVCameras(settings, start_timeout=stretched(2.0), open_capture=open_capture)


def fails(cameras):
    """Return the message with which ``read`` fails, "" if it succeeds."""
    try:
        cameras.read()
    except CameraError as error:
        return str(error)
    return ""


def test_read_returns_the_newest_frame_and_its_time_without_waiting():
    front = FakeCamera()
    with opened(front=front) as cameras:
        assert cameras.shapes == {"front": (24, 32, 3)}
        wait_until(lambda: front.number > 20)
        started = time.monotonic()
        frame = cameras.read()["front"]
        assert time.monotonic() - started < stretched(0.2)
        assert front.number - 5 <= frame[0, 0, 0] <= front.number
        assert 0 <= started - cameras.timestamps["front"] < stretched(0.2)
        assert cameras.read()["front"] is not frame
        frame[:] = 0
        assert cameras.read()["front"].any()


def test_physical_cameras_can_be_cropped_as_rendered_ones():
    view = CameraView.from_options("front", {"resolution": SIZE, "size": [16, 16]})
    with opened(front=FakeCamera()) as cameras:
        assert CroppedCameras(cameras, {"front": view}).read()["front"].shape == (16, 16, 3)


def test_skew_is_the_time_between_the_frames_that_were_read():
    front, wrist = FakeCamera(), FakeCamera()
    with opened(front=front, wrist=wrist) as cameras:
        assert cameras.skew == 0.0
        cameras.read()
        assert cameras.skew < stretched(0.2)
        wrist.silent = True
        time.sleep(0.15)
        cameras.read()
        times = cameras.timestamps
        assert cameras.skew == times["front"] - times["wrist"] > 0.08


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("silent", "camera 'wrist' delivered no new frame for 0."),
        ("repeats", "camera 'wrist' delivers the same picture again and again"),
    ],
)
def test_a_stale_camera_is_an_error_with_its_name_within_a_second(fault, words):
    front, wrist = FakeCamera(), FakeCamera()
    with opened(front=front, wrist=wrist) as cameras:
        cameras.read()
        setattr(wrist, fault, True)
        started = time.monotonic()
        wait_until(lambda: fails(cameras))
        assert 0.2 < time.monotonic() - started < stretched(1.0)
        assert words in fails(cameras)
        setattr(wrist, fault, False)
        wait_until(lambda: not fails(cameras))


def test_with_may_repeat_identical_frames_are_not_frozen():
    front = FakeCamera(may_repeat=True)
    with opened(front=front) as cameras:
        front.repeats = True
        time.sleep(0.5)
        cameras.read()
        front.silent = True
        wait_until(lambda: fails(cameras), 1.0)


def test_an_unplugged_camera_is_an_error_at_once_and_is_reopened(caplog):
    front, wrist = FakeCamera(), FakeCamera()
    with opened(front=front, wrist=wrist) as cameras:
        cameras.read()
        wrist.plugged = False
        started = time.monotonic()
        wait_until(lambda: fails(cameras))
        assert time.monotonic() - started < stretched(0.25)  # not only when its frame is stale
        assert fails(cameras) == "the cable is pulled"
        wait_until(lambda: "'wrist' cannot be opened" in fails(cameras))
        status = cameras.status()
        assert status["front"].connected
        assert not status["wrist"].connected
        assert (status["wrist"].losses, status["wrist"].returns) == (1, 0)
        assert "camera 'wrist' is lost: the cable is pulled" in caplog.text
        assert caplog.text.count("is lost") == 1
        wrist.plugged = True
        wait_until(lambda: not fails(cameras))
        assert cameras.status()["wrist"].returns == 1
        assert cameras.status()["wrist"].trouble == ""
        assert "camera 'wrist' is back after" in caplog.text
        assert wrist.released == wrist.opened - 1 == 1


def test_a_camera_that_cannot_be_opened_releases_the_others():
    front, wrist = FakeCamera(), FakeCamera()
    wrist.plugged = False
    with pytest.raises(CameraError, match=r"camera 'wrist' cannot be opened"):
        opened(front=front, wrist=wrist)
    assert front.released == front.opened == 1


def test_a_camera_without_a_first_frame_is_an_error():
    front = FakeCamera()
    front.silent = True
    settings = {"front": front.settings}
    with pytest.raises(CameraError, match=r"'front' delivered no frame within 0.2 s"):
        OpenCVCameras(settings, start_timeout=0.2, open_capture=lambda *_: front)


def test_a_slow_camera_is_logged_once(caplog):
    front = FakeCamera(fps=20.0)
    front.period = 0.1
    with opened(front=front) as cameras:
        wait_until(lambda: "camera 'front' delivers" in caplog.text, 10.0)
        assert "frames per second, expected 20" in caplog.text
        assert 2.0 < cameras.status()["front"].fps < 11.0
        time.sleep(0.3)
    assert caplog.text.count("frames per second") == 1


def test_close_ends_the_threads_and_releases_even_silent_cameras():
    before = threading.active_count()
    front, wrist = FakeCamera(), FakeCamera()
    cameras = opened(front=front, wrist=wrist)
    wrist.silent = True
    cameras.close()
    assert threading.active_count() == before
    assert (front.released, wrist.released) == (1, 1)
    cameras.close()


def test_memory_does_not_grow_with_the_frames():
    front = FakeCamera()
    with opened(front=front) as cameras:
        reader = cameras._readers["front"]
        wait_until(lambda: front.number > 250, 20.0)
        assert len(reader._times) <= 2 * 100 + 1
        kept = [each for each in vars(reader).values() if hasattr(each, "image")]
        assert len(kept) == 1
