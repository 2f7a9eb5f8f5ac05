"""Rows of captioned frames as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from e2hil_rllib.disk.files import save_figure
from e2hil_rllib.report.run.footage import Frames

COLUMNS = 8
"""Frames of a row."""

# Sizes [inches].
_FRAME = 1.3
_GAP = 0.06
_LEFT = 0.25
_TITLE = 0.34
_CAPTION = 0.36
_BELOW = 0.1
_DPI = 150


@dataclass(frozen=True)
class Shot:
    """Frames of a moment, with a caption.

    Attributes:
        frames: Frames by camera.
        caption: Text below the frames; two lines at most.
        colour: Colour of the border around them.
    """

    frames: Frames
    caption: str
    colour: str


@dataclass(frozen=True)
class Strip:
    """Titled row of shots from left to right, the cameras below each other."""

    title: str
    shots: Sequence[Shot]


def draw_strips(strips: Sequence[Strip], path: Path) -> None:
    """Draw strips below each other.

    Args:
        strips: Strips of 1 to ``COLUMNS`` shots, all with the same cameras.
        path: PNG file to write.

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    heights = [_height(strip) for strip in strips]
    size = (_LEFT + COLUMNS * (_FRAME + _GAP), sum(heights))
    figure = Figure(figsize=size, dpi=_DPI)
    top = size[1]
    for strip, height in zip(strips, heights, strict=True):
        _draw_strip(figure, strip, top)
        top -= height
    save_figure(figure, path)


def _camera_heights(strip: Strip) -> dict[str, float]:
    """Return the height of each camera's row [inches]; all frames have the same width."""
    frames = strip.shots[0].frames
    return {name: _FRAME * image.shape[0] / image.shape[1] for name, image in frames.items()}


def _height(strip: Strip) -> float:
    rows = _camera_heights(strip).values()
    return _TITLE + sum(rows) + _GAP * len(rows) + _CAPTION + _BELOW


def _draw_strip(figure: Figure, strip: Strip, top: float) -> None:
    """Draw a strip downwards from a height [inches] of the figure."""
    width, height = figure.get_size_inches()
    figure.text(_LEFT / width, (top - 0.22) / height, strip.title, fontsize=10, fontweight="bold")
    row_top = top - _TITLE
    for camera, row in _camera_heights(strip).items():
        bottom = row_top - row
        figure.text(
            0.11 / width, (bottom + row / 2) / height, camera, fontsize=8,
            rotation="vertical", ha="center", va="center",
        )  # fmt: skip
        for number, shot in enumerate(strip.shots):
            left = _LEFT + number * (_FRAME + _GAP)
            box = (left / width, bottom / height, _FRAME / width, row / height)
            axes = figure.add_axes(box, xticks=[], yticks=[])
            axes.imshow(shot.frames[camera], aspect="auto")
            axes.spines[:].set(color=shot.colour, linewidth=2)
        row_top = bottom - _GAP
    for number, shot in enumerate(strip.shots):
        middle = _LEFT + number * (_FRAME + _GAP) + _FRAME / 2
        figure.text(
            middle / width, (row_top - _CAPTION + 0.07) / height, shot.caption, fontsize=8,
            ha="center", va="baseline", linespacing=1.3,
        )  # fmt: skip
