"""The three parts of the data share no episode, and each shows both success and failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.classifier.dataset import DatasetError
from e2hil_rllib.classifier.split import split_episodes
from tests.classifier.scenes import labelled


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
