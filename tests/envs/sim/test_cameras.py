"""Rendered cameras."""

import itertools
import subprocess
import sys
import threading
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import yaml

IMAGES = sorted((Path(__file__).parents[3] / "configs").glob("*_images.yaml"))
JAWS = 0.03  # [m] above the TCP
CUBE = 0.015  # [m]: half its edge
STACK = "envs:SO101StackBlocks-v0"


@pytest.fixture(scope="module")
def env():
    made = gymnasium.make(STACK, cameras=["front", "wrist"])
    try:
        made.reset(seed=0)
    except RuntimeError as error:
        made.close()
        # A machine without OpenGL: the error must say what to install.
        assert "libegl1" in str(error)
        assert "libgl1-mesa-dri" in str(error)
        pytest.skip("no off-screen OpenGL on this machine")
    yield made
    made.close()


def test_frames_replace_the_objects(env):
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"state", "front", "wrist"} == set(env.observation_space)
    for name in ("front", "wrist"):
        assert observation[name].shape == (128, 128, 3)
        assert observation[name].dtype == np.uint8
        assert observation[name].std() > 10
    assert env.observation_space.contains(observation)


def test_both_cubes_are_seen_from_the_front(env):
    front = env.reset(seed=1)[0]["front"].astype(int)
    red, _, blue = front[..., 0], front[..., 1], front[..., 2]
    assert (red > 2 * blue + 60).sum() > 10
    assert (blue > 2 * red + 60).sum() > 10


def test_frames_are_new_arrays_and_follow_the_arm(env):
    first, _ = env.reset(seed=0)
    kept = first["wrist"].copy()
    second, *_ = env.step(np.array([1.0, 1.0, 0.0, -1.0]))
    assert not np.shares_memory(first["wrist"], second["wrist"])
    assert (first["wrist"] == kept).all()
    assert (second["wrist"] != kept).any()


def test_frames_are_the_same_under_a_seed(env):
    first, _ = env.reset(seed=3)
    second, _ = env.reset(seed=3)
    assert (first["front"] == second["front"]).all()


def test_a_view_is_its_region_of_the_raw_frame():
    crop = {"left": 160, "top": 40, "width": 240, "height": 200}
    cameras = {"front": {"resolution": [640, 480], "crop": crop, "size": [96, 64]}, "wrist": None}
    made = gymnasium.make(STACK, cameras=cameras)
    try:
        observation, _ = made.reset(seed=2)
        assert made.observation_space.contains(observation)
        assert observation["front"].shape == (64, 96, 3)
        assert observation["wrist"].shape == (128, 128, 3)
        raw = made.unwrapped.cameras.raw()
        assert raw["front"].shape == (480, 640, 3)
        # Pillow and a plain mean differ in how they weigh the edges of a pixel's area.
        part = raw["front"][40:240, 160:400].astype(float)
        assert np.abs(part.mean((0, 1)) - observation["front"].mean((0, 1))).max() < 1.0
        assert made.unwrapped.cameras.views["front"].apply(raw["front"]).tolist() == (
            observation["front"].tolist()
        )
    finally:
        made.close()


@pytest.mark.parametrize("file", IMAGES, ids=lambda file: file.stem)
def test_the_front_cameras_crop_shows_the_workspace_and_the_jaws_above_it(file):
    values = yaml.safe_load(file.read_text())
    made = gymnasium.make(values["task"], cameras=values["env"]["cameras"])
    box, views = made.unwrapped.workspace, made.unwrapped.cameras.views
    model = made.unwrapped.task.scene.model
    camera = model.camera("front")
    right, up, back = model.cam_mat0[camera.id].reshape(3, 3).T
    view = views["front"]
    width, height = view.resolution
    focal = height / 2 / np.tan(np.radians(camera.fovy[0]) / 2)
    lowest = np.array([box.x[0] - CUBE, box.y[0] - CUBE, 0.0])
    highest = np.array([box.x[1] + CUBE, box.y[1] + CUBE, 0.0])
    points = list(itertools.product(*zip(lowest, highest, strict=True)))
    points += itertools.product(box.x, box.y, (box.z[1], box.z[1] + JAWS))
    crop = view.crop
    for point in points:
        x, y, z = (axis @ (np.array(point) - camera.pos) for axis in (right, up, back))
        column, row = width / 2 - focal * x / z, height / 2 + focal * y / z
        assert crop.left < column < crop.left + crop.width, point
        assert crop.top < row < crop.top + crop.height, point
    assert crop.width * crop.height < 0.6 * width * height
    made.close()


def test_without_a_view_the_frame_is_the_rendered_one(env):
    observation, _ = env.reset(seed=5)
    raw = env.unwrapped.cameras.raw()
    assert all((observation[name] == raw[name]).all() for name in ("front", "wrist"))


def test_frames_larger_than_mujocos_default_buffer_are_rendered(env):
    made = gymnasium.make(STACK, cameras={"front": {"resolution": [800, 600]}})
    try:
        made.reset(seed=0)
        raw = made.unwrapped.cameras.raw()["front"]
        assert raw.shape == (600, 800, 3)
        assert (raw.reshape(-1, 3).max(axis=1) > 0).mean() > 0.9
    finally:
        made.close()


def test_rendering_in_another_thread_raises(env):
    caught = []

    def render():
        try:
            env.unwrapped.cameras.read()
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert "one environment per thread" in caught[0]


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


WITHOUT_EGL = """
import ctypes, os
for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
    os.environ.pop(name, None)
load = ctypes.CDLL.__init__
def refuse(self, name, *args, **kwargs):
    if name and "EGL" in str(name):
        raise OSError("no such library")
    load(self, name, *args, **kwargs)
ctypes.CDLL.__init__ = refuse
import gymnasium
"""


def test_without_egl_the_error_names_the_packages():
    done = run_python(
        WITHOUT_EGL
        + f"""
env = gymnasium.make("{STACK}", cameras=["front"])
try:
    env.reset(seed=0)
except RuntimeError as error:
    print(error)
"""
    )
    assert "apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri" in done.stdout, done.stderr


def test_without_cameras_no_egl_is_needed():
    done = run_python(WITHOUT_EGL + f'gymnasium.make("{STACK}").reset(seed=0)\nprint("started")')
    assert "started" in done.stdout, done.stderr


def test_without_cameras_no_context_is_opened():
    done = run_python(
        f"""
import gymnasium, sys
env = gymnasium.make("{STACK}")
env.reset(seed=0)
egl = sys.modules.get("mujoco.egl")
print("opened" if egl and egl.EGL_DISPLAY is not None else "closed")
"""
    )
    assert "closed" in done.stdout, done.stderr
