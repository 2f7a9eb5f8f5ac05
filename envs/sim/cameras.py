"""Rendered cameras: ``front`` looks at the table, ``wrist`` rides on the gripper."""

import threading
from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.frames import FrameShape
from envs.sim.scene import Scene
from envs.views import Size

CAMERAS = ("front", "wrist")
"""Names of the model's cameras."""


class RenderedCameras:
    """Cameras rendered off-screen; implements ``envs.interfaces.Cameras``.

    The OpenGL context opens with the first frame and belongs to the thread that asked for it; there
    is one for each resolution.

    Args:
        scene: Scene to render.
        resolutions: Width and height of each rendered camera's frames, by name [pixels].
    """

    def __init__(self, scene: Scene, resolutions: Mapping[str, Size]) -> None:
        self._scene = scene
        self._resolutions = dict(resolutions)
        self._renderers: dict[Size, mujoco.Renderer] = {}
        self._thread: int | None = None

    @property
    def shapes(self) -> Mapping[str, FrameShape]:
        """Shape of each camera's frames, in the order given."""
        return {name: (height, width, 3) for name, (width, height) in self._resolutions.items()}

    def read(self) -> dict[str, NDArray[np.uint8]]:
        """Render one frame per camera.

        Returns:
            RGB frames by camera, each a new uint8 array in the camera's shape.

        Raises:
            RuntimeError: If OpenGL is missing, or another thread than the first one calls.
        """
        if self._thread is None:
            self._thread = threading.get_ident()
        if self._thread != threading.get_ident():
            raise RuntimeError(
                "a rendering environment belongs to the thread that first rendered with it: "
                "reset and step it in that thread, or make one environment per thread"
            )
        frames = {}
        for name, resolution in self._resolutions.items():
            renderer = self._renderer(resolution)
            renderer.update_scene(self._scene.data, camera=name)
            frames[name] = renderer.render().copy()
        return frames

    def close(self) -> None:
        """Close the OpenGL contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self._thread = None

    def _renderer(self, resolution: Size) -> mujoco.Renderer:
        """Return the renderer of a resolution, shared by all cameras of that resolution."""
        if resolution not in self._renderers:
            renderer = _open_renderer(self._scene.model, resolution)
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
            self._renderers[resolution] = renderer
        return self._renderers[resolution]


def _open_renderer(model: mujoco.MjModel, resolution: Size) -> mujoco.Renderer:
    width, height = resolution
    # MuJoCo renders into a buffer of this size, 640x480 by default.
    buffer = model.vis.global_
    buffer.offwidth, buffer.offheight = max(buffer.offwidth, width), max(buffer.offheight, height)
    # The exception of a missing or unusable OpenGL depends on the loader.
    try:
        return mujoco.Renderer(model, height=height, width=width)
    except Exception as error:
        raise RuntimeError(
            "cannot open an off-screen OpenGL context for the cameras. On Debian and Ubuntu "
            "install Mesa's EGL (apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri) and set "
            "MUJOCO_GL=egl before Python starts, or make the environment with cameras=() "
            f"(cause: {error!r})"
        ) from error
