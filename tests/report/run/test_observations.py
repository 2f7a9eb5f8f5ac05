"""Strips of the newest episodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2hil_rllib.report.page import Page
from e2hil_rllib.report.run import observations as module
from e2hil_rllib.report.run.contact_sheet import Strip
from e2hil_rllib.report.run.observations import add_observations
from tests.report.runs import (
    add_episode,
    captions,
    damage,
    frame,
    recorded_strips,
    run_in,
)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Strip]:
    """The strips that were drawn."""
    return recorded_strips(monkeypatch, module)


def test_the_newest_episodes_are_shown_from_start_to_end(
    tmp_path: Path, drawn: list[Strip]
) -> None:
    run, page = run_in(tmp_path), Page("run", "")
    for episode in range(6):
        add_episode(run.episodes, episode, 21 if episode == 5 else 3, human=(1,))
    add_observations(page, run)
    assert [strip.title for strip in drawn] == [
        "Episode 3: not solved, 3 steps, 1 of them led by the human",
        "Episode 4: solved, 3 steps, 1 of them led by the human",
        "Episode 5: not solved, 21 steps, 1 of them led by the human",
    ]
    assert captions(drawn[0]) == [
        "step 0 policy", "step 1 human", "step 2 policy", "after the last step"
    ]  # fmt: skip
    assert len({shot.colour for shot in drawn[0].shots}) == 3
    # Of the long one every third step, but the human's in the place of the nearest.
    shown = [0, 1, 6, 9, 12, 15, 18, 21]
    assert captions(drawn[2])[:3] == ["step 0 policy", "step 1 human", "step 6 policy"]
    for step, shot in zip(shown, drawn[2].shots, strict=True):
        for name, image in shot.frames.items():
            assert np.array_equal(image, frame(name, 5, step))
    assert "What the policy sees" in page.to_html() and "data:image/png" in page.to_html()


@pytest.mark.parametrize("helped", [(), (1, 2)])
def test_the_newest_episode_with_a_human_is_among_them(
    tmp_path: Path, drawn: list[Strip], helped: tuple[int, ...]
) -> None:
    run = run_in(tmp_path)
    for episode in range(8):
        add_episode(run.episodes, episode, 3, human=(0,) if episode in helped else ())
    add_observations(Page("run", ""), run)
    third = 2 if helped else 5
    assert [strip.title.split(":")[0] for strip in drawn] == [f"Episode {n}" for n in (third, 6, 7)]


def test_a_damaged_episode_is_left_out_with_a_note(tmp_path: Path, drawn: list[Strip]) -> None:
    run, page = run_in(tmp_path), Page("run", "")
    for episode in range(3):
        path = add_episode(run.episodes, episode, 3)
    damage(path)
    add_observations(page, run)
    assert [strip.title.split(":")[0] for strip in drawn] == ["Episode 0", "Episode 1"]
    assert "Left out: The episode file" in page.to_html()
    for path in run.episodes.iterdir():
        damage(path)
    add_observations(page, run)
    assert not (run.report / "observations.png").exists()


def test_runs_without_frames_or_episodes_have_no_such_section(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    (run.report / "observations.png").write_text("of an earlier report")
    page = Page("run", "")
    add_observations(page, run)
    for episode in range(3):
        add_episode(run.episodes, episode, 3, cameras=False)
    add_observations(page, run)
    assert "What the policy sees" not in page.to_html()
    assert not list(run.report.iterdir())
