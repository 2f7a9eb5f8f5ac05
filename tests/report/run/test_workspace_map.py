"""Positions of pruned and kept samples: the table, and the picture over the arm's reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from e2hil_rllib.report.run.workspace_map import PlacedSamples, Reach, draw_places, place_table

REACH = Reach((0.14, -0.15, 0.30, 0.15), 0.04, (0.07, 0.29), 110.0)


def test_samples_in_and_out_of_the_workspace_are_counted() -> None:
    place = np.array([[0.2, 0.0], [0.2, 0.1], [0.14, -0.15], [0.31, 0.0], [0.2, 0.16], [0.1, 0.0]])
    kept = np.array([True, True, False, False, False, True])
    samples = PlacedSamples(place, kept)
    assert samples.inside(REACH).tolist() == [True, True, True, False, False, False]
    head, (row, empty) = place_table(
        {"e2hil": samples, "random": PlacedSamples(place[:1], kept[:1])}, REACH, "reach"
    )
    assert row == ("reach", "e2hil", "6", "50.0%", "33.3%", "66.7%") and len(head) == len(row)
    assert empty == ("reach", "random", "1", "0.0%", "0.0%", "-")


def colours(picture: Path, column: int, half: int) -> np.ndarray:
    """Mean colour of a half, left or right, of a panel's workspace."""
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(float)
    height, width = pixels.shape[:2]
    panel = pixels[
        int(0.25 * height) : int(0.55 * height), width * column // 3 : width * (column + 1) // 3
    ]
    middle = int(0.55 * panel.shape[1])  # the axis of y has labels on its left
    part = panel[:, :middle] if half == 0 else panel[:, middle:]
    return part.reshape(-1, 3).mean(axis=0)


def test_the_arms_left_is_left_in_the_picture(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    place = random.uniform((0.15, -0.14), (0.29, 0.14), (20_000, 2))
    kept = place[:, 1] < 0  # what lies left of the arm, y > 0, is pruned
    picture = tmp_path / "a.png"
    draw_places({"e2hil": PlacedSamples(place, kept)}, REACH, "reach", picture)
    kept_left, kept_right = (colours(picture, 0, half) for half in (0, 1))
    pruned_left, pruned_right = (colours(picture, 1, half) for half in (0, 1))
    assert kept_right[0] < kept_left[0] - 15  # blue where there are samples: less red
    assert pruned_left[2] < pruned_right[2] - 15  # orange: less blue


def test_cells_with_few_samples_are_drawn_without_a_share(tmp_path: Path) -> None:
    few = PlacedSamples(np.array([[0.2, 0.0], [0.21, 0.0]]), np.array([True, False]))
    all_kept = PlacedSamples(np.array([[0.2, 0.0]]), np.array([True]))
    for number, by_method in enumerate(({"e2hil": few}, {"e2hil": all_kept})):
        draw_places(by_method, REACH, "reach", tmp_path / f"{number}.png")
        assert Image.open(tmp_path / f"{number}.png").size[0] > 1000
