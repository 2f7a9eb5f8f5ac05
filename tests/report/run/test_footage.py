"""Single frames of an episode file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2hil_rllib.data.episodes import DamagedEpisodeError
from e2hil_rllib.report.run.footage import Footage
from tests.report.runs import add_episode, damage, frame


def test_frames_are_those_of_the_steps_asked_for(tmp_path: Path) -> None:
    footage = Footage(add_episode(tmp_path, 4, 9, human=(2, 3)))
    assert (footage.episode, footage.num_steps, footage.succeeded) == (4, 9, True)
    assert np.flatnonzero(footage.is_human).tolist() == [2, 3]
    assert footage.cameras == ["front", "wrist"]
    for step, frames in zip((9, 0, 3), footage.frames([9, 0, 3]), strict=True):
        assert list(frames) == ["front", "wrist"]
        for name, image in frames.items():
            assert np.array_equal(image, frame(name, 4, step))


def test_an_episode_without_cameras_has_no_frames(tmp_path: Path) -> None:
    footage = Footage(add_episode(tmp_path, 1, 3, cameras=False))
    assert footage.cameras == [] and footage.frames([0, 1]) == [{}, {}]
    assert not footage.succeeded


def test_a_missing_and_a_damaged_file_raise_different_errors(tmp_path: Path) -> None:
    path = add_episode(tmp_path, 0, 5)
    with pytest.raises(FileNotFoundError, match="episode_000001"):
        Footage(tmp_path / "episode_000001.parquet")
    footage = Footage(path)
    with pytest.raises(DamagedEpisodeError, match=r"episode_000000\.parquet is damaged: \S"):
        footage.frames([17])
    damage(path)
    with pytest.raises(DamagedEpisodeError, match=r"episode_000000\.parquet is damaged: \S"):
        Footage(path)
