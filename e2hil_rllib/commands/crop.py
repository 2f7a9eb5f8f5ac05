"""Pictures of what each camera sees and what of it the policy observes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from rich.console import Console

from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.errors import UserError
from e2hil_rllib.settings.environments import fault_in_words
from e2hil_rllib.settings.run_settings import Settings

_HEIGHT = 6.0  # [inches]
_DPI = 100
_COLOUR = "magenta"  # seldom on a table, and visible on light and dark


class CropError(UserError):
    """The cameras' pictures cannot be made; the message says why and what to do."""


class View(Protocol):
    """What the command asks of a camera's view; the environments of `envs` have such views."""

    @property
    def crop(self) -> Any:
        """Has `left`, `top`, `width` and `height` in pixels of the raw frame."""

    def apply(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the observed frame of a raw one."""


def draw_crops(settings: Settings, folder: Path, seed: int | None = None) -> list[Path]:
    """Makes the environment, resets it, and draws one picture per camera.

    Left the raw frame with the crop's rectangle, its axes in pixels to read a better crop from;
    right the frame as the policy gets it, every pixel a square.

    Args:
        settings: Names the environment and its cameras (`env.cameras`).
        folder: Where the pictures go, as `<camera>.png`; older ones are replaced.
        seed: Of the start; by default the settings'.

    Returns:
        The pictures, in the order of the cameras.

    Raises:
        CropError: The environment cannot be made or started, or observes no cameras.
        WriteError: A picture cannot be written.
    """
    try:
        env = gymnasium.make(settings.task, **settings.env)
    except (TypeError, ValueError, gymnasium.error.Error, ModuleNotFoundError) as error:
        fault = fault_in_words(error).rstrip(".?")
        raise CropError(
            f"The environment {settings.task} cannot be made with the settings in 'env': {fault}."
        ) from error
    try:
        frames, views = _raw_frames(env, settings, settings.seed if seed is None else seed)
    finally:
        env.close()
    return [draw_view(folder / f"{name}.png", name, frames[name], views[name]) for name in views]


def show_crops(settings: Settings, folder: Path, seed: int | None, console: Console) -> None:
    """`e2hil crop`: draws the pictures and prints where they are."""
    for path in draw_crops(settings, folder, seed):
        console.print(str(path), highlight=False, soft_wrap=True)


def _raw_frames(
    env: gymnasium.Env[Any, Any], settings: Settings, seed: int
) -> tuple[dict[str, NDArray[np.uint8]], Mapping[str, View]]:
    cameras: Any = getattr(env.unwrapped, "cameras", None)
    if not hasattr(cameras, "raw"):
        raise CropError(
            f"The environment {settings.task} observes no cameras with the settings in 'env'. "
            "Name them, e.g. --set 'env.cameras=[front, wrist]', or in the file with a crop: "
            "env: {cameras: {front: {resolution: [640, 480], crop: {left: 160, top: 120, "
            "width: 320, height: 320}}}}."
        )
    try:
        if not env.has_wrapper_attr("led_by_a_person"):  # a real arm need not move for a picture
            env.reset(seed=seed)
        return cameras.raw(), cameras.views
    except RuntimeError as error:
        fault = str(error).rstrip(".")
        raise CropError(f"The environment {settings.task} cannot be started: {fault}.") from error


def draw_view(path: Path, name: str, raw: NDArray[np.uint8], view: View) -> Path:
    """Draw a raw frame with its crop, beside the frame that the policy gets; returns the file.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    seen, crop = view.apply(raw), view.crop
    height, width = raw.shape[:2]
    seen_height, seen_width = seen.shape[:2]
    ratios = [width / height, seen_width / seen_height]
    figure = Figure(figsize=(_HEIGHT * sum(ratios) + 1.5, _HEIGHT + 1.0), dpi=_DPI)
    figure.set_layout_engine("constrained")
    left, right = figure.subplots(1, 2, width_ratios=ratios)
    _show(left, raw, f"{name}: raw frame, {width}x{height}")
    _show(right, seen, f"what the policy sees, {seen_width}x{seen_height}")
    # Pixels are drawn around their centres, so that the first one begins at -0.5.
    corner = (crop.left - 0.5, crop.top - 0.5)
    outline = Rectangle(corner, crop.width, crop.height, fill=False, edgecolor=_COLOUR, linewidth=2)
    outline.set_clip_on(False)
    left.add_patch(outline)
    left.set_xlabel(
        f"crop: left {crop.left}, top {crop.top}, width {crop.width}, height {crop.height}"
    )
    save_figure(figure, path)
    return path


def _show(axes: Axes, frame: NDArray[np.uint8], title: str) -> None:
    axes.imshow(frame, interpolation="nearest")
    axes.set_title(title)
