import pytest

from envs.hardware.cameras import CameraSettings


def build(**options):
    return CameraSettings.from_options("front", {"source": 0, **options})


def test_only_the_source_must_be_given():
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
def test_the_source_says_what_it_is(source, is_device, is_file):
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
def test_a_wrong_value_is_refused_by_the_cameras_name(options, complaint):
    with pytest.raises(ValueError, match=r"cameras\.front\." + complaint):
        build(**options)


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(
        TypeError, match=r"cameras.front has no option 'exposur': did you mean 'expo"
    ):
        build(exposur=3)
