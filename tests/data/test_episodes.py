"""Episodes on disk: the round trip, and every kind of damage named."""

from __future__ import annotations

import dataclasses
import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e2hil_rllib.data.episodes import (
    DamagedEpisodeError,
    episode_files,
    episode_path,
    read_episode,
    read_episodes,
    write_episode,
)
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.disk.files import WriteError
from tests.helpers import assert_same_steps


def make_episode(steps: int = 4, index: int = 0, **changes: Any) -> EpisodeSteps:
    rng = np.random.default_rng(index)
    episode = EpisodeSteps(
        episode=index,
        observations={
            "state": rng.normal(size=(steps + 1, 21)).astype(np.float32),
            "objects": rng.normal(size=(steps + 1, 3)).astype(np.float32),
            "front": rng.integers(0, 256, (steps + 1, 16, 12, 3), dtype=np.uint8),
        },
        actions=rng.uniform(-1, 1, (steps, 4)).astype(np.float32),
        rewards=np.eye(1, steps, steps - 1, dtype=np.float32)[0],
        is_intervention=rng.random(steps) < 0.5,
        terminated=True,
        truncated=False,
        succeed=True,
        fps=10.0,
        task="envs:SO101TouchCube-v0",
    )
    return dataclasses.replace(episode, **changes)


numbers = st.sampled_from([np.float32, np.float64, np.uint8, np.int32, np.int64, np.bool_])


@st.composite
def episodes(draw: st.DrawFn) -> EpisodeSteps:
    steps = draw(st.integers(1, 6))
    keys = draw(st.lists(st.sampled_from(["state", "objects", "front", "wrist", "extra"]),
                         min_size=1, unique=True))  # fmt: skip

    def array(dtype: Any, *shape: int) -> np.ndarray:
        elements = {"allow_nan": False, "allow_infinity": False}
        return draw(
            hnp.arrays(dtype, shape, elements=elements if dtype().dtype.kind == "f" else {})
        )

    observations = {}
    for key in keys:
        if key in ("front", "wrist"):
            size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
            observations[key] = array(np.uint8, steps + 1, *size, 3)
        else:
            shape = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=4))
            observations[key] = array(draw(numbers), steps + 1, *shape)
    return EpisodeSteps(
        episode=draw(st.integers(0, 10**9)),
        observations=observations,
        actions=array(np.float32, steps, draw(st.integers(1, 5))),
        rewards=array(np.float32, steps),
        is_intervention=array(np.bool_, steps),
        terminated=draw(st.booleans()),
        truncated=draw(st.booleans()),
        succeed=draw(st.booleans()),
        fps=draw(st.floats(0.1, 200)),
        task=draw(st.text(max_size=20)),
    )


@settings(max_examples=60, deadline=None)
@given(episode=episodes())
def test_an_episode_survives_the_disk_unchanged(
    episode: EpisodeSteps, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = episode_path(tmp_path_factory.mktemp("episodes"), episode.episode)
    write_episode(path, episode)
    assert_same_steps(read_episode(path), episode)


def test_columns_have_lerobots_names_and_the_last_row_is_only_an_observation(
    tmp_path: Path,
) -> None:
    path = episode_path(tmp_path, 12)
    episode = make_episode(steps=3, index=12)
    write_episode(path, episode)
    assert path.name == "episode_000012.parquet"
    table = pq.read_table(path)
    assert {
        "observation.state", "observation.environment_state", "observation.images.front",
        "action", "next.reward", "next.done", "next.success", "next.truncated",
        "complementary_info.is_intervention", "timestamp", "frame_index", "episode_index",
        "index", "task_index",
    } <= set(table.column_names)  # fmt: skip
    last = table.slice(3, 1).to_pylist()[0]
    assert last["action"] is None and last["next.reward"] is None and last["next.done"] is None
    np.testing.assert_allclose(last["observation.state"], episode.observations["state"][3])
    assert last["timestamp"] == pytest.approx(0.3)
    assert table["next.done"].to_pylist() == [False, False, True, None]
    assert table["episode_index"].to_pylist() == [12] * 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": np.zeros(3, np.float32)}, r"rewards have shape \(3,\), expected \(4,\)"),
        ({"rewards": np.full(4, np.nan, np.float32)}, "rewards .* not finite at index 0"),
        ({"actions": np.zeros((4, 4))}, "actions are float64, expected float32"),
        ({"actions": np.full((4, 4), np.inf, np.float32)}, "actions .* not finite"),
        ({"actions": np.zeros((0, 4), np.float32)}, "actions have shape"),
        ({"is_intervention": np.zeros(4)}, "is_intervention are float64, expected bool"),
        ({"observations": {}}, "no observation"),
        ({"observations": {"state": np.zeros((4, 2), np.float32)}}, "4 steps have 5"),
        ({"observations": {"state": np.full((5, 2), np.nan, np.float32)}}, "'state'.*not finite"),
        ({"observations": {"state": np.full((5, 2), None)}}, "object, expected numbers"),
        (
            {"observations": {k: np.zeros((5, 2)) for k in ("objects", "environment_state")}},
            "would be column",
        ),
        ({"fps": 0.0}, "fps"),
        ({"episode": -1}, "index"),
    ],
)
def test_a_bad_episode_is_refused_and_leaves_no_file(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_episode(episode_path(tmp_path, 0), make_episode(**changes))
    assert not list(tmp_path.iterdir())


def rewrite(path: Path, change: Any) -> None:
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def replaced(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    index = table.column_names.index(name)
    field = table.schema.field(name)
    return table.set_column(index, field, pa.array(values, field.type))


def without_metadata(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata(None)


def of_a_later_version(table: pa.Table) -> pa.Table:
    (text,) = (v for v in table.schema.metadata.values() if v.startswith(b"{"))
    later = text.replace(b'"version": 1', b'"version": 99')
    checksum = str(zlib.crc32(later)).encode()
    new = {k: later if v == text else checksum for k, v in table.schema.metadata.items()}
    return table.replace_schema_metadata(new)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda t: t.drop_columns(["action"]), "column 'action' is missing"),
        (lambda t: t.drop_columns(["observation.images.front"]), "images.front' is missing"),
        (without_metadata, "metadata"),
        (of_a_later_version, "schema version is 99, expected 1"),
        (lambda t: t.slice(0, 3), "null in the last row"),
        (lambda t: t.slice(0, 1), "expected at least 2"),
        (lambda t: pa.concat_tables([t.slice(0, 2), t.slice(3)]), "frame_index"),
        (lambda t: replaced(t, "next.reward", [0.0, np.nan, 0.0, 1.0, None]), "not finite"),
        (lambda t: replaced(t, "next.reward", [0.0, None, 0.0, 1.0, None]), "null"),
        (lambda t: replaced(t, "action", [[0.0] * 3] * 4 + [None]), "4 values in every row"),
        (lambda t: replaced(t, "observation.state", [[0.0] * 21] * 4 + [None]), "every row"),
        (
            lambda t: replaced(
                t, "observation.images.front", [{"bytes": b"\x89PNG\r\n\x1a\n", "path": None}] * 5
            ),
            "image",
        ),
    ],
)
def test_damage_is_named(tmp_path: Path, change: Any, fault: str) -> None:
    path = episode_path(tmp_path, 0)
    write_episode(path, make_episode())
    rewrite(path, change)
    with pytest.raises(DamagedEpisodeError, match=fault) as error:
        read_episode(path)
    assert str(path) in str(error.value) and error.value.fault


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_file_that_is_cut_short_is_damaged(tmp_path: Path, kept: int) -> None:
    path = episode_path(tmp_path, 0)
    write_episode(path, make_episode())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedEpisodeError, match=path.name):
        read_episode(path)


def test_a_flipped_bit_does_not_pass_as_data(tmp_path: Path) -> None:
    path = episode_path(tmp_path, 0)
    episode = make_episode()
    write_episode(path, episode)
    whole = path.read_bytes()
    for position in range(4, len(whole), 61):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            read = read_episode(path)
        except DamagedEpisodeError:
            continue
        assert_same_steps(read, episode)


def test_damaged_files_are_skipped_only_on_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index in range(3):
        write_episode(episode_path(tmp_path, index), make_episode(index=index))
    damaged = episode_path(tmp_path, 1)
    damaged.write_bytes(b"")
    with pytest.raises(DamagedEpisodeError, match=damaged.name):
        read_episodes(tmp_path)
    with caplog.at_level(logging.WARNING):
        read = read_episodes(tmp_path, skip_damaged=True)
    assert [episode.episode for episode in read] == [0, 2]
    assert damaged.name in caplog.text


def test_files_are_found_by_index_and_leftovers_are_not(tmp_path: Path) -> None:
    for index in (10, 2, 1_000_000):
        write_episode(episode_path(tmp_path, index), make_episode(index=index))
    (tmp_path / ".episode_000003.parquet.77.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    found = episode_files(tmp_path)
    assert found == [episode_path(tmp_path, index) for index in (2, 10, 1_000_000)]
    with pytest.raises(FileNotFoundError, match="no folder"):
        episode_files(tmp_path / "nowhere")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = episode_path(tmp_path, 0)
    write_episode(path, make_episode())
    whole = path.read_bytes()

    def disk_is_full(table: pa.Table, where: Path, **_: Any) -> None:
        Path(where).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", disk_is_full)
    with pytest.raises(WriteError, match="No space"):
        write_episode(path, make_episode(steps=5))
    assert path.read_bytes() == whole
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
