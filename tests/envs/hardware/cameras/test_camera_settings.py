"""Settings and options of physical cameras."""

import pytest

from envs.hardware.cameras.camera_settings import camera_options
from envs.hardware.cameras.physical_cameras import CameraSettings
from envs.views import CameraView, Region


def build(**options):
    return CameraSettings.from_options("front", {"source": 0, **options})


def test_only_the_source_is_required():
    settings = build()
    assert settings == CameraSettings(0)
    assert settings.shape == (480, 640, 3)
    with pytest.raises(TypeError, match=r"cameras.front lacks 'source'"):
        CameraSettings.from_options("front", {})


@pytest.mark.parametrize(
    ("source", "is_device", "is_file"),
    [
        (2, True, False),
        ("/dev/v4l/by-id/usb-Cam-video-index0", True, False),
        ("clips/front.mp4", False, True),
        ("http://127.0.0.1:8000/front.mjpg", False, False),
        ("rtsp://127.0.0.1/front", False, False),
    ],
)
def test_the_source_tells_devices_files_and_streams_apart(source, is_device, is_file):
    settings = build(source=source)
    assert (settings.is_device, settings.is_file) == (is_device, is_file)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"source": ""}, "source must be an index, a path or a URL"),
        ({"source": -1}, "source must be an integer from 0 to 63"),
        ({"source": 1.5}, "source must be an integer"),
        ({"resolution": [640]}, r"resolution must be \[width, height\]"),
        ({"resolution": [640, 15]}, "resolution must be an integer from 16"),
        ({"fps": 0}, "fps must be a number from 1"),
        ({"stale_after": 1.1}, "stale_after must be a number from 0.1 to 1"),
        ({"fps": 3, "stale_after": 0.6}, "stale_after must be at least two frames, 0.67 s"),
        ({"exposure": "auto"}, "exposure must be a number"),
        ({"pixel_format": "MJPEG"}, "pixel_format must be four letters"),
        ({"may_repeat": 1}, "may_repeat must be true or false"),
        ({"source": "a.mp4", "exposure": 100}, "exposure and pixel_format are set on devices"),
        ({"source": "a.mp4", "pixel_format": "MJPG"}, "exposure and pixel_format are set on"),
    ],
)
def test_a_wrong_value_is_refused_with_the_cameras_name(options, complaint):
    with pytest.raises(ValueError, match=r"cameras\.front\." + complaint):
        build(**options)


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(
        TypeError, match=r"cameras.front has no option 'exposur': did you mean 'expo"
    ):
        build(exposur=3)


CROP = {"left": 0, "top": 0, "width": 480, "height": 240}


def test_a_camera_of_the_robot_needs_only_its_source():
    settings, views = camera_options({"front": {"source": 2}})
    assert settings == {"front": CameraSettings(2)}
    assert views == {"front": CameraView((640, 480), Region(80, 0, 480, 480), (128, 128))}


def test_options_are_split_into_settings_and_view():
    settings, views = camera_options(
        {
            "front": {
                "source": "/dev/video3",
                "resolution": [320, 240],
                "fps": 60,
                "exposure": 120,
                "pixel_format": "MJPG",
                "stale_after": 0.3,
                "may_repeat": True,
                "crop": {"left": 10, "top": 20, "width": 200, "height": 100},
                "size": [64, 32],
            },
            "wrist": {"source": 1, "size": 96},
        }
    )
    assert settings == {
        "front": CameraSettings("/dev/video3", (320, 240), 60, 120, "MJPG", 0.3, True),
        "wrist": CameraSettings(1),
    }
    assert views == {
        "front": CameraView((320, 240), Region(10, 20, 200, 100), (64, 32)),
        "wrist": CameraView((640, 480), Region(80, 0, 480, 480), (96, 96)),
    }
    for name, view in views.items():
        assert view.raw_shape == settings[name].shape


@pytest.mark.parametrize(
    ("resolution", "square"),
    [
        ([640, 480], Region(80, 0, 480, 480)),
        ([480, 640], Region(0, 80, 480, 480)),
        ([321, 240], Region(40, 0, 240, 240)),
        ([128, 128], Region(0, 0, 128, 128)),
    ],
)
def test_without_a_crop_the_largest_square_in_the_middle_is_observed(resolution, square):
    _, views = camera_options({"front": {"source": 0, "resolution": resolution}})
    assert views["front"].crop == square


def test_without_cameras_there_are_no_settings_and_no_views():
    for options in (None, {}):
        assert camera_options(options) == ({}, {})


def test_the_callers_options_stay_as_they_are():
    options = {"front": {"source": 0}}
    camera_options(options)
    assert options == {"front": {"source": 0}}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"source": 0, "exposur": 3}, "cameras.front has no option 'exposur': did you mean 'expo"),
        ({"source": 0, "corp": {}}, "cameras.front has no option 'corp': did you mean 'crop'"),
        ({"fps": 30}, "cameras.front lacks 'source'"),
        ({"source": 0, "crop": {"left": 0}}, r"cameras.front.crop lacks \['top', 'width'"),
        (None, "cameras.front must be a mapping"),
        (0, "cameras.front must be a mapping"),
    ],
)
def test_unknown_options_are_refused_with_the_cameras_name(options, complaint):
    with pytest.raises(TypeError, match=complaint):
        camera_options({"wrist": {"source": 1}, "front": options})


@pytest.mark.parametrize("options", [["front"], "front", 0])
def test_cameras_that_are_no_mapping_are_refused(options):
    with pytest.raises(TypeError, match=r"^cameras must be a mapping"):
        camera_options(options)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"fps": 0}, "fps must be a number"),
        ({"size": 8}, "size must be an integer from 16"),
        ({"resolution": [640]}, r"resolution must be \[width, height\]"),
        (
            {"resolution": [320, 240], "crop": {**CROP, "left": 80}},
            "crop.width must be an integer from 16 to 320",
        ),
        (
            {"crop": {**CROP, "left": 300}},
            "crop ends at column 780, row 240",
        ),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_cameras_name(options, complaint):
    with pytest.raises(ValueError, match=r"^cameras\.front\." + complaint):
        camera_options({"front": {"source": 0, **options}})
