"""Views: observed regions of frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.views import CameraView, Region, camera_views

CROP = {"left": 10, "top": 20, "width": 50, "height": 40}


def noise(view, seed=0):
    return np.random.default_rng(seed).integers(0, 256, view.raw_shape, np.uint8)


@st.composite
def views(draw):
    width, height = draw(st.integers(16, 90)), draw(st.integers(16, 90))
    left, top = draw(st.integers(0, width - 16)), draw(st.integers(0, height - 16))
    crop = {
        "left": left,
        "top": top,
        "width": draw(st.integers(16, width - left)),
        "height": draw(st.integers(16, height - top)),
    }
    size = [draw(st.integers(16, 90)), draw(st.integers(16, 90))]
    options = {"resolution": [width, height], "crop": crop, "size": size}
    return CameraView.from_options("front", options)


def test_by_default_the_frame_is_unchanged():
    view = CameraView.from_options("front", None)
    frame = noise(view)
    assert view.shape == view.raw_shape == (128, 128, 3)
    assert view.apply(frame) is frame


@given(views(), st.integers(0, 2**32))
def test_pixels_outside_of_the_crop_have_no_influence(view, seed):
    frame = noise(view, seed)
    other = noise(view, seed + 1)
    crop = view.crop
    inside = np.s_[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    other[inside] = frame[inside]
    kept = frame.copy()
    seen = view.apply(frame)
    assert seen.shape == view.shape
    assert seen.dtype == np.uint8
    assert (seen == view.apply(other)).all()
    assert (frame == kept).all()


@given(views(), st.tuples(*[st.integers(0, 255)] * 3))
def test_an_even_colour_is_unchanged(view, colour):
    frame = np.full(view.raw_shape, colour, np.uint8)
    assert (view.apply(frame) == np.array(colour, np.uint8)).all()


def test_a_crop_of_the_wanted_size_is_cut_out_exactly():
    options = {"resolution": [100, 80], "crop": CROP, "size": [50, 40]}
    view = CameraView.from_options("front", options)
    frame = noise(view)
    seen = view.apply(frame)
    assert (seen == frame[20:60, 10:60]).all()
    assert not np.shares_memory(seen, frame)


def test_shrinking_averages_pixels():
    view = CameraView.from_options("front", {"resolution": [128, 128], "size": 32})
    stripes = np.zeros(view.raw_shape, np.uint8)
    stripes[:, ::2] = 200
    seen = view.apply(stripes)
    assert np.abs(seen.astype(int) - 100).max() <= 12


def test_width_comes_before_height():
    view = CameraView.from_options("front", {"resolution": [640, 480], "size": [64, 32]})
    assert (view.raw_shape, view.shape) == ((480, 640, 3), (32, 64, 3))
    assert view.crop == Region(0, 0, 640, 480)


def test_cameras_are_a_list_of_names_or_a_mapping_to_options():
    assert camera_views(["front", "wrist"]) == camera_views({"front": None, "wrist": {}})
    assert list(camera_views({"wrist": {}, "front": {"size": 64}})) == ["wrist", "front"]
    assert camera_views(()) == camera_views({}) == {}


@pytest.mark.parametrize("options", ["front", ["front", "front"], 3, [["front"]], None])
def test_cameras_of_another_kind_are_refused(options):
    with pytest.raises(ValueError, match="list of different names, or a mapping"):
        camera_views(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": [640]}, r"cameras.front.resolution must be \[width, height\]"),
        ({"resolution": [640, 5000]}, "resolution must be an integer from 16 to 4096, got 5000"),
        ({"size": 2048}, "cameras.front.size must be an integer from 16 to 1024"),
        ({"size": True}, "cameras.front.size must be an integer"),
        ({"size": [64.0, 64]}, "cameras.front.size must be an integer"),
        ({"crop": {**CROP, "left": -1}}, "cameras.front.crop.left must be an integer from 0"),
        ({"crop": {**CROP, "width": 8}}, "cameras.front.crop.width must be an integer from 16"),
        ({"crop": {**CROP, "left": 79}}, "crop ends at column 129, row 60, .* of 128x128 pixels"),
        ({"crop": {**CROP, "top": 89}}, "crop ends at column 60, row 129"),
    ],
)
def test_bad_values_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        CameraView.from_options("front", options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": 64}, "cameras.front has no option 'sizes': did you mean 'size'"),
        ({"crop": {**CROP, "with": 3}}, "cameras.front.crop has no option 'with': did you mean"),
        ({"crop": {"left": 1, "top": 2}}, r"crop lacks \['width', 'height'\]: give all of"),
        ({"crop": [1, 2, 3, 4]}, "cameras.front.crop must be a mapping"),
    ],
)
def test_unknown_and_missing_options_are_refused(options, message):
    with pytest.raises(TypeError, match=message):
        CameraView.from_options("front", options)
