"""Kept and pruned samples: shown frames and their captions."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from e2hil_rllib.report.page import Page
from e2hil_rllib.report.run import judged_samples as module
from e2hil_rllib.report.run.contact_sheet import Strip
from e2hil_rllib.report.run.judged_samples import add_judged_samples
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.run.selection_log import selection_files
from tests.report.runs import (
    add_episode,
    captions,
    damage,
    frame,
    judged_samples,
    log_selection,
    recorded_strips,
    run_in,
)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Strip]:
    """The strips that were drawn."""
    return recorded_strips(monkeypatch, module)


def text_of(run: RunFolder) -> str:
    page = Page("run", "")
    add_judged_samples(page, run)
    return page.to_html()


def test_smallest_middle_and_largest_are_shown_with_their_frames(
    tmp_path: Path, drawn: list[Strip]
) -> None:
    run = run_in(tmp_path)
    for episode in range(2, 12):
        add_episode(run.episodes, episode, 10)
    log_selection(run, 100, judged_samples([0]))
    log_selection(run, 200, judged_samples(list(range(2, 12))))
    text = text_of(run)
    assert [strip.title.split(",")[0] for strip in drawn] == [
        "Pruned: |c| below the lower bound", "Kept: |c| within the bounds",
        "Pruned: |c| above the upper bound",
    ]  # fmt: skip
    below, kept, above = drawn
    sources = ("policy", "intervention", "demonstration")
    for strip, numbers in ((below, range(8)), (kept, range(46, 54)), (above, range(92, 100))):
        assert captions(strip) == [
            f"|c| {(n + 1) / 100:.2g} {sources[n % 3]} {2 + n // 10}:{n % 10}" for n in numbers
        ]
        for shot, n in zip(strip.shots, numbers, strict=True):
            assert np.array_equal(shot.frames["wrist"], frame("wrist", 2 + n // 10, n % 10))
    assert len({shot.colour for shot in kept.shots}) == 3
    assert "at step 200" in text and "80% of them" in text and text.count("data:image/png") == 2
    shares = "<td>9.1%</td><td>9.1%</td><td>81.8%</td>"
    assert f"<td>intervention</td><td>33</td><td>0.5</td>{shares}" in text


@pytest.mark.parametrize(
    ("rule", "enabled", "said"),
    [
        ("random", True, "The rule is random"),
        ("entropy", False, "The selection is off: the actor learned from all"),
        ("log_entropy", True, "c taken without the density"),
    ],
)
def test_the_page_explains_the_bounds(
    tmp_path: Path, drawn: list[Strip], rule: str, enabled: bool, said: str
) -> None:
    run = run_in(tmp_path)
    for episode in range(10):
        add_episode(run.episodes, episode, 10)
    log_selection(run, 100, judged_samples(list(range(10)), rule, enabled))
    assert said in text_of(run)
    pruned_by_bounds = rule == "log_entropy"
    assert ("Pruned" in drawn[0].title) == pruned_by_bounds
    # Otherwise each sample says whether it was kept: at random, the smallest may have been.
    told = {
        word for caption in captions(drawn[0]) for word in ("kept", "pruned") if word in caption
    }
    assert told == (set() if pruned_by_bounds else {"kept"} if rule == "random" else {"pruned"})


def test_demonstrations_are_found_in_their_own_folder(tmp_path: Path, drawn: list[Strip]) -> None:
    run = run_in(tmp_path, demonstrations={"record": 3})
    add_episode(run.demonstrations, 2, 10)
    add_episode(run.episodes, 2, 12)
    log_selection(run, 100, judged_samples([-3]))
    text_of(run)
    assert captions(drawn[0])[0] == "|c| 0.01 policy 2:0" and len(drawn) == 3
    given = tmp_path / "recorded"
    shutil.copytree(run.demonstrations, given)
    shutil.rmtree(run.demonstrations)
    drawn.clear()
    text_of(run)
    assert not drawn
    shutil.rmtree(run.report)
    run = run_in(tmp_path, demonstrations={"path": str(given)})
    text_of(run)
    assert len(drawn) == 3


def test_a_moment_is_shown_once_and_open_episodes_are_skipped(
    tmp_path: Path, drawn: list[Strip]
) -> None:
    run = run_in(tmp_path)
    add_episode(run.episodes, 1, 10)
    samples = judged_samples([1, 2])  # episode 2 is still open
    log_selection(run, 100, dataclasses.replace(samples, step=np.arange(100) % 10 // 2))
    text = text_of(run)
    assert captions(drawn[0]) == [
        "|c| 0.01 policy 1:0", "|c| 0.03 demonstration 1:1", "|c| 0.05 intervention 1:2",
        "|c| 0.07 policy 1:3", "|c| 0.09 demonstration 1:4",
    ]  # fmt: skip
    assert [strip.title[:4] for strip in drawn] == ["Prun", "Kept"] and "Left out" not in text


def test_damaged_and_renamed_files_are_left_out_with_a_note(
    tmp_path: Path, drawn: list[Strip]
) -> None:
    run = run_in(tmp_path)
    for episode in range(5):
        add_episode(run.episodes, episode, 10)
    damage(run.episodes / "episode_000000.parquet")
    (run.episodes / "episode_000001.parquet").rename(run.episodes / "episode_000009.parquet")
    log_selection(run, 100, judged_samples([0, 2, 3, 4, 9]))
    log_selection(run, 200, judged_samples([0]))
    damage(selection_files(run.selection)[-1][1])
    text = text_of(run)
    assert "at step 100" in text and text.count("Left out: ") == 3
    assert "step_000000200.parquet is damaged" in text
    assert "episode_000000.parquet is damaged" in text and "holds episode 1" in text
    assert [strip.title[:4] for strip in drawn] == ["Kept"]  # episodes 0 and 9 were at the ends


def test_a_run_without_cameras_shows_figures_only(tmp_path: Path, drawn: list[Strip]) -> None:
    run = run_in(tmp_path)
    for episode in range(10):
        add_episode(run.episodes, episode, 10, cameras=False)
    log_selection(run, 100, judged_samples(list(range(10))))
    (run.report / "judged_samples.png").write_text("of an earlier report")
    text = text_of(run)
    assert not drawn and [path.name for path in run.report.iterdir()] == [
        "influence_of_samples.png"
    ]
    assert "<td>all</td><td>100</td>" in text and "Below each" not in text


def test_a_run_without_a_log_has_no_such_section(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    assert "Kept and pruned" not in text_of(run) and not list(run.report.iterdir())


def test_influences_of_zero_and_missing_bounds_are_drawn_too(
    tmp_path: Path, drawn: list[Strip]
) -> None:
    run = run_in(tmp_path)
    samples = judged_samples([0])
    for number, influence in enumerate((np.zeros(100), np.r_[np.zeros(50), np.ones(50)])):
        unbounded = dataclasses.replace(samples, influence=influence, lower=0.0, upper=1.0)
        log_selection(run, 100 * (number + 1), unbounded)
        text = text_of(run)
        assert text.count("data:image/png") == number
        assert "<td>all</td><td>100</td>" in text and "<td>0.0%</td><td>0.0%</td>" in text
