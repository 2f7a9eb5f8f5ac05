"""Strips of frames as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from e2hil_rllib.report.run.contact_sheet import COLUMNS, Shot, Strip, draw_strips

RED, GREEN = (250, 0, 0), (0, 250, 0)


def shot(colour: tuple[int, int, int]) -> Shot:
    frames = {
        "front": np.full((10, 20, 3), colour, np.uint8),
        "wrist": np.full((20, 20, 3), colour, np.uint8),
    }
    return Shot(frames, "caption\nof two lines", "#0000ff")


def blobs(pixels: np.ndarray, colour: tuple[int, int, int]) -> tuple[list[int], list[int]]:
    """Widths of the columns and heights of the rows of pixels that have a colour."""
    like = np.abs(pixels.astype(int) - np.array(colour)).max(axis=-1) < 30

    def runs(present: np.ndarray) -> list[int]:
        edges = np.flatnonzero(np.diff(np.r_[False, present, False].astype(int)))
        return [int(length) for length in edges[1::2] - edges[::2] if length > 3]

    return runs(like.any(axis=0)), runs(like.any(axis=1))


def test_frames_are_next_to_and_cameras_below_each_other(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    draw_strips([Strip("A", [shot(RED)] * COLUMNS), Strip("B", [shot(GREEN)] * 2)], path)
    pixels = np.asarray(Image.open(path).convert("RGB"))
    for colour, number in ((RED, COLUMNS), (GREEN, 2)):
        widths, heights = blobs(pixels, colour)
        assert len(widths) == number and np.ptp(widths) <= 2
        wide, (front, wrist) = widths[0], heights
        assert abs(wrist - wide) <= 4 and abs(front - wide / 2) <= 4  # the frames keep their shape
    assert blobs(pixels, (0, 0, 255))[0]  # the border


def test_nothing_of_a_full_strip_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    draw_strips([Strip("A", [shot(RED)] * COLUMNS)], path)
    pixels = np.asarray(Image.open(path).convert("RGB"))
    for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]):
        assert (edge == 255).all()
