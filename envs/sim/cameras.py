"""Rendered cameras: `front` looks at the table, `wrist` rides on the gripper."""

import threading
from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.sim.scene import Scene

CAMERAS = ("front", "wrist")
"""Names of the cameras that the model has."""

FRAME_SIZE = 128
"""Width and height of a frame [pixels]."""


class RenderedCameras:
    """Renders frames off-screen; it implements `envs.interfaces.Cameras`.

    The OpenGL context opens with the first frame and belongs to the thread that asked for it.

    Args:
        scene: what to look at.
        names: which of `CAMERAS` to render.
    """

    def __init__(self, scene: Scene, names: Sequence[str]) -> None:
        self._scene = scene
        self._names = tuple(names)
        self._renderer: mujoco.Renderer | None = None
        self._thread: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cameras, in the order given."""
        return self._names

    def read(self) -> dict[str, NDArray[np.uint8]]:
        """Renders one frame per camera.

        Returns:
            RGB frames by camera, each a new uint8 array of shape (128, 128, 3).

        Raises:
            RuntimeError: if OpenGL is not to be had, or another thread than the first one asks.
        """
        if self._renderer is None:
            self._renderer = _open_renderer(self._scene.model)
            self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
            self._thread = threading.get_ident()
        if self._thread != threading.get_ident():
            raise RuntimeError(
                "a rendering environment belongs to the thread that first rendered with it: "
                "reset and step it in that thread, or make one environment per thread"
            )
        frames = {}
        for name in self._names:
            self._renderer.update_scene(self._scene.data, camera=name)
            frames[name] = self._renderer.render().copy()
        return frames

    def close(self) -> None:
        """Gives the OpenGL context back."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _open_renderer(model: mujoco.MjModel) -> mujoco.Renderer:
    # What a missing or unusable OpenGL raises depends on where which loader gives up.
    try:
        return mujoco.Renderer(model, height=FRAME_SIZE, width=FRAME_SIZE)
    except Exception as error:
        raise RuntimeError(
            "cannot open an off-screen OpenGL context for the cameras. On Debian and Ubuntu "
            "install Mesa's EGL (apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri) and set "
            "MUJOCO_GL=egl before Python starts, or make the environment with cameras=() "
            f"(cause: {error!r})"
        ) from error
