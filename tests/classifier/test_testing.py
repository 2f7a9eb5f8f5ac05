"""The choice of the worst frames, and their pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from e2hil_rllib.classifier.dataset import LabelledEpisode
from e2hil_rllib.classifier.testing import draw_mistakes, draw_scores, worst_frames


def judged(number: int) -> tuple[list[LabelledEpisode], list[np.ndarray]]:
    """Episodes of eight frames that differ, the second half success, with random scores."""
    rng = np.random.default_rng(0)
    success = np.arange(8) >= 4
    episodes = [
        LabelledEpisode(
            name=f"runs/a/episode_{index:06d}.parquet",
            frames={
                "front": np.full((8, 6, 6, 3), index, np.uint8),
                "wrist": rng.integers(0, 256, (8, 4, 5, 3), dtype=np.uint8),
            },
            success=success,
            steps=np.arange(8) + 100,
        )
        for index in range(number)
    ]
    return episodes, [rng.uniform(0, 1, 8) for _ in range(number)]


def test_the_worst_failures_score_highest_and_the_worst_successes_lowest() -> None:
    episodes, scores = judged(9)
    by_kind = {kind: worst_frames(episodes, scores, kind) for kind in (False, True)}
    failures = [frame.probability for frame in by_kind[False]]
    successes = [frame.probability for frame in by_kind[True]]
    assert failures == sorted(failures, reverse=True) and successes == sorted(successes)
    assert failures[0] == max(s[:4].max() for s in scores)
    assert successes[0] == min(s[4:].min() for s in scores)
    assert len(failures) == len(successes) == 12
    assert all(frame.success == kind for kind, found in by_kind.items() for frame in found)


def test_a_judged_frame_says_where_it_is_from_and_shows_all_cameras() -> None:
    episodes, scores = judged(1)
    scores[0][5] = 0.0
    frame = worst_frames(episodes, scores, True)[0]
    assert (frame.episode, frame.step, frame.probability) == ("a/episode_000000", 105, 0.0)
    assert frame.picture.shape == (6, 11, 3)
    np.testing.assert_array_equal(frame.picture[:4, 6:], episodes[0].frames["wrist"][5])
    assert (frame.picture[4:, 6:] == 255).all() and (frame.picture[:, :6] == 0).all()


def test_one_odd_episode_does_not_fill_the_picture() -> None:
    episodes, scores = judged(9)
    scores[0][:4] = 1.0
    names = [frame.episode for frame in worst_frames(episodes, scores, False)]
    assert names[:3] == ["a/episode_000000"] * 3 and names.count("a/episode_000000") == 3


def test_pictures_are_drawn_of_few_and_of_many_frames(tmp_path: Path) -> None:
    heights = []
    for number in (1, 9):
        episodes, scores = judged(number)
        frames = worst_frames(episodes, scores, False)
        draw_mistakes(frames, 0.5, tmp_path / "mistakes.png")
        heights.append(Image.open(tmp_path / "mistakes.png").size[1])
    assert heights[1] > 2.5 * heights[0]
    draw_scores(
        np.concatenate(scores),
        np.concatenate([e.success for e in episodes]),
        0.5,
        tmp_path / "scores.png",
    )
    assert len(np.unique(np.asarray(Image.open(tmp_path / "scores.png")))) > 20
