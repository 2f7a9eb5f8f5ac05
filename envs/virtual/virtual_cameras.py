"""Cameras of the virtual arm: the simulation's cameras as MJPEG streams on loopback."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from envs.sim.cameras import CAMERAS, RenderedCameras
from envs.sim.scene import Scene
from envs.views import Size
from envs.virtual.mjpeg import MjpegServer

_PATIENCE = 10.0  # longest wait for one frame, which may have to wait for a core [s]


class VirtualCameras:
    """Camera streams of a scene that another thread moves.

    Frames are rendered from a copy of the scene, so that physics never waits for them, in one
    thread, as OpenGL demands, and only while somebody watches.

    Attributes:
        server: Server of the streams, which can also have faults.
    """

    def __init__(
        self,
        scene: Scene,
        pose: Callable[[], NDArray[np.float64]],
        size: Size = (640, 480),
        fps: float = 30.0,
    ):
        """Start to serve.

        Args:
            scene: Copy of the scene that nobody else uses.
            pose: Function that returns the current positions of the original, shape (nq,); called
                from the render thread.
            size: Width and height of the frames [pixels].
            fps: Frame rate of each stream [Hz].

        Raises:
            RuntimeError: If OpenGL is missing.
        """
        self._scene, self._pose = scene, pose
        self._cameras = {name: RenderedCameras(scene, {name: size}) for name in CAMERAS}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="virtual cameras")
        try:
            for name in CAMERAS:
                self._frame(name)  # a failure to render shows now, not to the first watcher
            self.server = MjpegServer(
                {name: partial(self._frame, name) for name in CAMERAS}, fps=fps
            )
        except BaseException:
            self._end_thread()
            raise

    @property
    def urls(self) -> dict[str, str]:
        """URL of each camera."""
        return {name: self.server.url(name) for name in CAMERAS}

    def close(self) -> None:
        """End the streams."""
        self.server.close()
        self._end_thread()

    def _frame(self, name: str) -> NDArray[np.uint8]:
        return self._thread.submit(self._render, name).result(_PATIENCE)

    def _render(self, name: str) -> NDArray[np.uint8]:
        self._scene.data.qpos[:] = self._pose()
        self._scene.refresh()
        return self._cameras[name].read()[name]

    def _end_thread(self) -> None:
        for cameras in self._cameras.values():
            self._thread.submit(cameras.close)
        self._thread.shutdown()
