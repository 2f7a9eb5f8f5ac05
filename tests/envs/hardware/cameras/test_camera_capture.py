"""Opening and setting of a device, with a fake OpenCV that answers as drivers do."""

import builtins
import sys
import types

import numpy as np
import pytest

from envs.frames import CameraError
from envs.hardware.cameras.camera_capture import OpenCVCapture, import_opencv
from envs.hardware.cameras.camera_settings import CameraSettings

PROPERTIES = (
    "OPEN_TIMEOUT_MSEC",
    "READ_TIMEOUT_MSEC",
    "FRAME_WIDTH",
    "FRAME_HEIGHT",
    "FPS",
    "FOURCC",
    "BUFFERSIZE",
    "AUTO_EXPOSURE",
    "EXPOSURE",
    "POS_FRAMES",
)


class FakeDriver:
    """Fake cv2 module with one camera that ignores some settings."""

    def __init__(self, **fixed):
        self.fixed = fixed
        self.settings = {}
        self.order = []
        self.frame = np.zeros((480, 640, 3), np.uint8)
        self.frame[..., 0] = 255  # blue, as OpenCV orders colours
        self.opens = self.delivers = True
        self.released = 0
        self.opened_with = None

    def module(self):
        cv2 = types.ModuleType("cv2")
        for name in PROPERTIES:
            setattr(cv2, f"CAP_PROP_{name}", name)
        cv2.CAP_V4L2, cv2.CAP_ANY, cv2.CAP_FFMPEG, cv2.COLOR_BGR2RGB = (
            "v4l2",
            "any",
            "ffmpeg",
            "rgb",
        )
        cv2.error = type("error", (Exception,), {})
        cv2.VideoWriter_fourcc = lambda *letters: sum(
            ord(c) << 8 * i for i, c in enumerate(letters)
        )
        cv2.VideoCapture = self.open
        cv2.cvtColor = lambda frame, _: frame[..., ::-1].copy()
        return cv2

    def open(self, *arguments):
        self.opened_with = arguments
        return self

    def isOpened(self):  # noqa: N802
        return self.opens

    def set(self, name, value):
        self.order.append(name)
        self.settings[name] = self.fixed.get(name, value)

    def get(self, name):
        return self.settings[name]

    def grab(self):
        return self.delivers

    def retrieve(self):
        return True, self.frame

    def release(self):
        self.released += 1


@pytest.fixture
def driver(monkeypatch):
    def install(**fixed):
        driver = FakeDriver(**fixed)
        monkeypatch.setitem(sys.modules, "cv2", driver.module())
        return driver

    return install


def test_settings_are_set_in_the_order_that_drivers_need(driver, caplog):
    camera = driver()
    settings = CameraSettings(0, exposure=150.0, pixel_format="MJPG")
    OpenCVCapture("front", settings)
    assert (
        camera.order.index("FOURCC") < camera.order.index("FRAME_WIDTH") < camera.order.index("FPS")
    )
    assert camera.order.index("AUTO_EXPOSURE") < camera.order.index("EXPOSURE")
    assert camera.settings == {
        **{"FRAME_WIDTH": 640, "FRAME_HEIGHT": 480, "FPS": 30.0, "BUFFERSIZE": 1},
        **{"FOURCC": 0x47504A4D, "AUTO_EXPOSURE": 1, "EXPOSURE": 150.0},
    }
    assert camera.opened_with[0] == 0
    assert caplog.text == ""


def test_unset_settings_are_left_to_the_driver(driver):
    camera = driver()
    OpenCVCapture("front", CameraSettings("/dev/v4l/by-id/usb-Cam-video-index0"))
    assert not {"EXPOSURE", "AUTO_EXPOSURE", "FOURCC"} & set(camera.order)
    assert camera.opened_with[0] == "/dev/v4l/by-id/usb-Cam-video-index0"


def test_a_refused_resolution_is_an_error_with_the_drivers_answer(driver):
    camera = driver(FRAME_WIDTH=320, FRAME_HEIGHT=240)
    with pytest.raises(
        CameraError, match=r"'front' was set to 640x480 pixels, but answers 320x240"
    ):
        OpenCVCapture("front", CameraSettings(0))
    assert camera.released == 1


@pytest.mark.parametrize(
    ("fixed", "warning"),
    [
        ({"FPS": 15.0}, "'front' was set to a frame rate of 30, but answers 15"),
        ({"EXPOSURE": 80.0}, "'front' was set to a exposure of 150, but answers 80"),
        ({"FOURCC": 0x56595559}, "'front' was set to a pixel format of"),
    ],
)
def test_other_refused_settings_are_logged_as_warnings(driver, caplog, fixed, warning):
    driver(**fixed)
    OpenCVCapture("front", CameraSettings(0, exposure=150.0, pixel_format="MJPG"))
    assert warning in caplog.text


def test_a_source_that_cannot_be_opened_is_named(driver):
    driver().opens = False
    with pytest.raises(CameraError, match=r"'wrist' cannot be opened at '/dev/video7'"):
        OpenCVCapture("wrist", CameraSettings("/dev/video7"))


def test_frames_are_rgb(driver):
    driver()
    frame, _ = OpenCVCapture("front", CameraSettings(0)).read()
    np.testing.assert_array_equal(frame[0, 0], [0, 0, 255])


def test_a_device_that_stops_or_changes_its_shape_is_named(driver):
    camera = driver()
    capture = OpenCVCapture("front", CameraSettings(0))
    camera.frame = np.zeros((240, 320, 3), np.uint8)
    with pytest.raises(CameraError, match=r"'front' delivers frames of shape \(240, 320, 3\)"):
        capture.read()
    camera.delivers = False
    with pytest.raises(CameraError, match=r"'front' at 0 stopped to deliver frames"):
        capture.read()


def test_an_error_of_opencv_becomes_a_camera_error(driver):
    camera = driver()
    capture = OpenCVCapture("front", CameraSettings(0))

    def fails():
        raise sys.modules["cv2"].error("bad buffer")

    camera.grab = fails
    with pytest.raises(CameraError, match=r"'front' cannot be read: bad buffer"):
        capture.read()


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ImportError("libGL.so.1: cannot open shared object file"), "apt install libgl1$"),
        (ImportError("libgthread-2.0.so.0: cannot open"), r"apt install libglib2\.0-0$"),
        (ImportError("libxyz.so: cannot open"), r"apt install libgl1 libglib2\.0-0$"),
        (ModuleNotFoundError("No module named 'cv2'"), "pip install opencv-python$"),
    ],
)
def test_a_missing_library_is_named_with_its_package(monkeypatch, error, remedy):
    original = builtins.__import__

    def imports(name, *others):
        if name == "cv2":
            raise error
        return original(name, *others)

    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.setattr(builtins, "__import__", imports)
    with pytest.raises(CameraError, match=remedy) as refused:
        import_opencv()
    assert str(error) in str(refused.value)
