"""Streams and files read by the real OpenCV; skipped where its system libraries are missing."""

import threading
import time

import numpy as np
import pytest

from envs.cropped_cameras import CroppedCameras
from envs.frames import CameraError
from envs.hardware.cameras.camera_capture import import_opencv
from envs.hardware.cameras.physical_cameras import CameraSettings, OpenCVCameras
from envs.views import CameraView
from envs.virtual.mjpeg import Fault, MjpegServer
from tests.patience import stretched

pytestmark = pytest.mark.realtime

try:
    cv2 = import_opencv()
except CameraError as error:
    if isinstance(error.__cause__, ModuleNotFoundError):
        raise  # it comes with this package; only libraries of the system may be missing
    pytest.skip(str(error), allow_module_level=True)

SIZE = (160, 120)


class Scene:
    """Moving picture: the left half is red, and the right half counts in grey."""

    def __init__(self):
        self.number = 0
        self.rng = np.random.default_rng(0)

    def __call__(self):
        self.number += 1
        frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        frame[:, : SIZE[0] // 2, 0] = 250
        frame[:, SIZE[0] // 2 :] = self.number * 3 % 250
        frame[:20] += self.rng.integers(0, 6, (20, SIZE[0], 3), np.uint8)  # as sensors are noisy
        return frame


def cameras_of(server, *names, **settings):
    return OpenCVCameras(
        {name: CameraSettings(server.url(name), SIZE, **settings) for name in names}
    )


def failure(cameras, within=3.0):
    """Wait until reading fails; return the message and the time it took."""
    started = time.monotonic()
    while time.monotonic() < started + stretched(within):
        try:
            cameras.read()
        except CameraError as error:
            return str(error), time.monotonic() - started
        time.sleep(0.01)
    return "", within


def recovers(cameras, within=6.0):
    deadline = time.monotonic() + stretched(within)
    while time.monotonic() < deadline:
        try:
            return cameras.read()
        except CameraError:
            time.sleep(0.02)
    raise AssertionError("it did not recover")


def test_frames_have_the_right_colours_and_are_new():
    with MjpegServer({"front": Scene()}) as server, cameras_of(server, "front") as cameras:
        seen, ages = [], []
        for _ in range(10):
            frame = cameras.read()["front"]
            ages.append(time.monotonic() - cameras.timestamps["front"])
            seen.append(frame[60, 120, 0])
            time.sleep(0.1)
    assert frame.shape == (120, 160, 3)
    np.testing.assert_allclose(frame[60, 20], [250, 0, 0], atol=8)
    assert len(set(seen)) >= 8
    assert np.median(ages) < stretched(0.2)


def test_two_cameras_are_read_in_parallel_at_their_rate():
    with (
        MjpegServer({"front": Scene(), "wrist": Scene()}, fps=20) as server,
        cameras_of(server, "front", "wrist", fps=20.0) as cameras,
    ):
        skews = []
        for _ in range(20):
            cameras.read()
            skews.append(cameras.skew)
            time.sleep(0.1)
        rates = [status.fps for status in cameras.status().values()]
    assert np.median(skews) < stretched(0.15)  # three frames
    assert all(10 < rate < 25 for rate in rates)


def test_frames_do_not_queue_up_behind_a_slow_reader():
    scene = Scene()
    with MjpegServer({"front": scene}) as server, cameras_of(server, "front") as cameras:
        time.sleep(2.0)
        grey = cameras.read()["front"][60, 120, 0]
        behind = (scene.number - round(int(grey) / 3)) % 83
    assert behind <= 10


@pytest.mark.parametrize("fault", [Fault.FREEZE, Fault.STALL, Fault.DISCONNECT])
def test_a_failing_camera_is_named_within_a_second_and_reopened(fault, caplog):
    sources = {"front": Scene(), "wrist": Scene()}
    with MjpegServer(sources) as server, cameras_of(server, "front", "wrist") as cameras:
        cameras.read()
        server.inject("wrist", fault)
        words, after = failure(cameras)
        assert "camera 'wrist'" in words
        assert after < stretched(1.0)
        time.sleep(1.2)  # long enough for OpenCV to give up on a stalled stream
        assert "camera 'wrist'" in failure(cameras)[0]
        server.inject("wrist", None)
        recovers(cameras)
    if fault is not Fault.FREEZE:
        assert "camera 'wrist' is back after" in caplog.text


def test_a_black_camera_is_refused():
    view = CameraView.from_options("front", {"resolution": list(SIZE)})
    with MjpegServer({"front": Scene()}) as server, cameras_of(server, "front") as cameras:
        cropped = CroppedCameras(cameras, {"front": view})
        assert cropped.read()["front"].shape == (128, 128, 3)
        server.inject("front", Fault.BLACK)
        words, after = failure(cropped)
        assert "camera 'front' delivered a black frame" in words
        assert after < stretched(1.0)


def test_a_stream_of_another_size_is_refused_with_its_size():
    with MjpegServer({"front": Scene()}) as server:
        settings = CameraSettings(server.url("front"))
        with pytest.raises(CameraError, match=r"'front' delivers frames of shape \(120, 160, 3\)"):
            OpenCVCameras({"front": settings})


def test_a_missing_source_is_named():
    with MjpegServer({"front": Scene()}) as server:
        url = server.url("front")
    for source in (url, "no/such/file.mp4", "/dev/video63"):
        with pytest.raises(CameraError, match=f"'front' cannot be opened at '{source}'"):
            OpenCVCameras({"front": CameraSettings(source, SIZE)})


def test_close_ends_the_thread_even_of_a_stalled_stream():
    with MjpegServer({"front": Scene()}) as server:
        cameras = cameras_of(server, "front")
        cameras.read()
        server.inject("front", Fault.STALL)
        started = time.monotonic()
        cameras.close()
        assert time.monotonic() - started < stretched(3.0)
        assert not [thread for thread in threading.enumerate() if thread.name == "camera front"]


def test_a_file_is_played_in_real_time_in_a_loop(tmp_path, caplog):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, SIZE)
    scene = Scene()
    for _ in range(10):
        writer.write(cv2.cvtColor(scene(), cv2.COLOR_RGB2BGR))
    writer.release()
    settings = CameraSettings(str(path), SIZE, fps=20.0)
    with OpenCVCameras({"front": settings}) as cameras:
        greys = []
        for _ in range(60):
            greys.append(round(cameras.read()["front"][60, 120].mean() / 3))
            time.sleep(0.025)
        assert 10 < cameras.status()["front"].fps < 25
    assert set(greys) <= set(range(12))
    assert (np.diff(greys) < 0).sum() >= 2
    assert "lost" not in caplog.text
