"""Gymnasium environments of the SO101 arm.

Importing this package registers ``SO101TouchCube-v0``, ``SO101PickCube-v0``,
``SO101PickPlaceCube-v0``, ``SO101PushCube-v0`` and ``SO101StackBlocks-v0``, with the keyword
arguments of ``envs.entry.make_simulated``, and ``SO101Robot-v0``, the physical arm, with those of
``envs.hardware.robot.make_physical``. ``gymnasium.make("envs:SO101TouchCube-v0")`` imports and
makes at once.
"""

import ctypes
import os
import sys

import gymnasium

_EPISODES = {
    "TouchCube": ("touch_cube", 100),
    "PickCube": ("pick_cube", 150),
    "PickPlaceCube": ("pick_place_cube", 200),
    "PushCube": ("push_cube", 150),
    "StackBlocks": ("stack_blocks", 250),
}
"""Task name and time limit in control steps (10 to 25 s at 10 Hz), by environment name."""


def _choose_renderer() -> None:
    """Make MuJoCo render with EGL on Linux without a display, if EGL is installed.

    MuJoCo reads the choice when it is first imported, and fails then, even without cameras, if the
    library is missing.
    """
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not sys.platform.startswith("linux") or has_display or "MUJOCO_GL" in os.environ:
        return
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return
    os.environ["MUJOCO_GL"] = "egl"
    # Mesa's software renderer would start threads in every worker without any gain.
    os.environ.setdefault("LP_NUM_THREADS", "1")


_choose_renderer()

for _name, (_task, _max_steps) in _EPISODES.items():
    gymnasium.register(
        id=f"SO101{_name}-v0",
        entry_point="envs.entry:make_simulated",
        max_episode_steps=_max_steps,
        kwargs={"task": _task},
    )

gymnasium.register(
    id="SO101Robot-v0",
    entry_point="envs.hardware.robot:make_physical",
    max_episode_steps=150,
)
