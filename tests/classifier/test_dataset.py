"""Labels of recorded frames, errors of folders without any, and the split of the data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from e2hil_rllib.classifier.dataset import (
    DatasetError,
    label_episode,
    read_recordings,
    read_sorted,
    split_episodes,
)
from e2hil_rllib.data.episodes import DamagedEpisodeError, episode_path, write_episode
from tests.classifier.scenes import episode, frame, labelled, write_episodes


def pictures(folder: Path, number: int, ending: str = "png", size: int = 32) -> Path:
    folder.mkdir()
    for index in range(number):
        picture = Image.fromarray(frame(index % 8)).resize((size, size))
        picture.save(folder / f"{index:03d}.{ending}")
    return folder


def test_the_frame_that_followed_a_rewarded_step_is_a_success() -> None:
    made = episode(0, solved=True, after=3)
    found = label_episode(made, "a")
    assert found.success.tolist() == [False] * 11 + [True] * 3
    assert found.steps.tolist() == list(range(14)) and list(found.frames) == ["front"]
    np.testing.assert_array_equal(found.frames["front"], made.observations["front"])


def test_the_last_frame_of_an_episode_that_succeeded_is_a_success_whatever_its_reward() -> None:
    made = dataclasses.replace(episode(0, solved=False), succeed=True)
    assert label_episode(made, "a").success.tolist() == [False] * 10 + [True]
    failed = dataclasses.replace(made, succeed=False)
    assert not label_episode(failed, "a").success.any()


def test_the_small_rewards_of_progress_are_no_success() -> None:
    rewards = np.full(10, 0.3, np.float32)
    rewards[-1] = 1.05
    made = dataclasses.replace(episode(0, solved=False), rewards=rewards, succeed=True)
    assert label_episode(made, "a").success.tolist() == [False] * 10 + [True]


def test_unsure_frames_before_a_success_are_left_out_and_steps_stay_true() -> None:
    found = label_episode(episode(0, solved=True, after=3), "a", unsure_steps=2)
    assert found.steps.tolist() == [*range(9), 11, 12, 13]
    assert found.success.tolist() == [False] * 9 + [True] * 3
    assert len(found.frames["front"]) == 12
    untouched = label_episode(episode(0, solved=False), "a", unsure_steps=2)
    assert len(untouched.steps) == 11


def test_frames_near_a_change_of_the_label_are_known_by_their_steps() -> None:
    found = label_episode(episode(0, solved=True, after=3), "a")
    assert np.flatnonzero(found.near_change(2)).tolist() == [9, 10, 11, 12]
    thinned = label_episode(episode(0, solved=True, after=3), "a", unsure_steps=1)
    assert thinned.steps[thinned.near_change(2)].tolist() == [9, 11]
    assert not label_episode(episode(0, solved=False), "a").near_change(2).any()


def test_several_folders_are_read_with_the_cameras_asked_for(tmp_path: Path) -> None:
    write_episodes(tmp_path / "a", 1, 1, cameras=("front", "wrist"))
    write_episodes(tmp_path / "b", 1, 0, cameras=("wrist", "front"))
    everything = read_recordings([tmp_path / "a", tmp_path / "b"])
    assert [list(e.frames) for e in everything] == [["front", "wrist"]] * 3
    assert [e.success.any() for e in everything] == [True, False, True]
    assert everything[2].name == str(episode_path(tmp_path / "b", 0))
    wrist = read_recordings([tmp_path / "a"], ["wrist"])
    assert [list(e.frames) for e in wrist] == [["wrist"]] * 2


def test_sorted_folders_label_every_frame_of_theirs(tmp_path: Path) -> None:
    found = read_sorted(write_episodes(tmp_path / "s", 1, 0), write_episodes(tmp_path / "f", 2, 1))
    assert [e.success.all() for e in found] == [True, False, False, False]
    assert [e.success.any() for e in found] == [True, False, False, False]


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_pictures_stay_with_their_neighbours(tmp_path: Path, ending: str) -> None:
    success, failure = (pictures(tmp_path / n, 45, ending) for n in ("s", "f"))
    found = read_sorted(success, failure, ["front"])
    assert [len(e.success) for e in found] == [20, 20, 5] * 2
    assert [e.success.all() for e in found] == [True] * 3 + [False] * 3
    assert found[0].shapes == {"front": (32, 32, 3)} and found[1].name.endswith(f"020.{ending}")


def test_pictures_need_the_name_of_their_one_camera(tmp_path: Path) -> None:
    success, failure = (pictures(tmp_path / n, 2) for n in ("s", "f"))
    for cameras in (None, ["front", "wrist"]):
        with pytest.raises(DatasetError, match="holds pictures: say of which camera"):
            read_sorted(success, failure, cameras)


def test_pictures_of_different_size_or_damaged_are_named(tmp_path: Path) -> None:
    success, failure = pictures(tmp_path / "s", 2), pictures(tmp_path / "f", 2, size=16)
    with pytest.raises(DatasetError, match=r"000\.png has frames of 16×16 .* of 32×32"):
        read_sorted(success, failure, ["front"])
    Image.fromarray(frame(0)).resize((8, 4)).save(success / "001.png")
    with pytest.raises(DatasetError, match=r"001\.png is 8×4 pixels, 000\.png 32×32"):
        read_sorted(success, failure, ["front"])
    (success / "001.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"picture .*001\.png cannot be read"):
        read_sorted(success, failure, ["front"])


def test_folders_without_episodes_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty holds no episode files"):
        read_recordings([tmp_path / "empty"])
    with pytest.raises(DatasetError, match="nowhere is no folder"):
        read_recordings([tmp_path / "nowhere"])
    with pytest.raises(DatasetError, match="nowhere is no folder"):
        read_sorted(tmp_path / "nowhere", tmp_path / "empty")


def test_missing_cameras_are_named_with_those_there_are(tmp_path: Path) -> None:
    folder = write_episodes(tmp_path / "a", 1, 0)
    with pytest.raises(DatasetError, match=r"no camera 'wrist', it has \['front'\]"):
        read_recordings([folder], ["wrist"])
    write_episodes(tmp_path / "blind", 1, 0, cameras=())
    with pytest.raises(DatasetError, match=r"recorded without cameras.*env\.cameras"):
        read_recordings([tmp_path / "blind"])


def test_frames_of_different_size_are_refused(tmp_path: Path) -> None:
    folder = write_episodes(tmp_path / "a", 2, 0)
    small = episode(2, solved=True)
    small.observations["front"] = small.observations["front"][:, ::2, ::2]
    write_episode(episode_path(folder, 2), small)
    with pytest.raises(DatasetError, match=r"episode_000002\.parquet has frames of 16×16"):
        read_recordings([folder])


def test_a_damaged_episode_is_named(tmp_path: Path) -> None:
    folder = write_episodes(tmp_path / "a", 1, 0)
    episode_path(folder, 0).write_bytes(b"nothing")
    with pytest.raises(DamagedEpisodeError, match=r"episode_000000\.parquet is damaged"):
        read_recordings([folder])


@given(solved=st.integers(3, 30), failed=st.integers(0, 30), seed=st.integers(0, 5))
def test_no_episode_is_in_two_parts_and_none_is_lost(solved: int, failed: int, seed: int) -> None:
    episodes = [labelled(f"s{i}", [0, 1]) for i in range(solved)]
    episodes += [labelled(f"f{i}", [0, 0]) for i in range(failed)]
    split = split_episodes(episodes, seed)
    names = [[e.name for e in part] for part in (split.train, split.choose, split.test)]
    assert sorted(name for part in names for name in part) == sorted(e.name for e in episodes)
    for part in names:
        assert any(name.startswith("s") for name in part)
        if failed >= 3:
            assert any(name.startswith("f") for name in part)
    assert len(names[0]) >= len(names[1]) == len(names[2])


def test_the_split_follows_from_the_seed() -> None:
    episodes = [labelled(str(i), [0, 1]) for i in range(10)]
    tests = [[e.name for e in split_episodes(episodes, seed).test] for seed in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]


def test_sizes_count_episodes_frames_and_successes() -> None:
    split = split_episodes([labelled(str(i), [0, 1, 1]) for i in range(10)], 0)
    assert split.sizes() == {
        "train": {"episodes": 6, "frames": 18, "success_frames": 12},
        "choose": {"episodes": 2, "frames": 6, "success_frames": 4},
        "test": {"episodes": 2, "frames": 6, "success_frames": 4},
    }


@pytest.mark.parametrize(
    ("kinds", "counted"),
    [
        ([[0, 1]] * 2, "2 episodes that show success and 0 that do not"),
        ([[1, 1]] * 5 + [[0]] * 2, "5 episodes that show success and 2 that do not"),
        ([[0, 0]] * 9, "0 episodes that show success and 9 that do not"),
    ],
)
def test_too_few_episodes_are_counted(kinds: list[list[int]], counted: str) -> None:
    with pytest.raises(DatasetError, match=f"{counted} are too few"):
        split_episodes([labelled(str(i), kind) for i, kind in enumerate(kinds)], 0)
