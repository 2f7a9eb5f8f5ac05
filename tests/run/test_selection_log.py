"""The log of the selection: what is written is read back, and the files cover the run evenly."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2hil_rllib.run import selection_log as module
from e2hil_rllib.run.selection_log import (
    LARGEST,
    DamagedSelectionError,
    JudgedSamples,
    SelectionLog,
    read_samples,
    selection_files,
)


def judged(rows: int = 6, seed: int = 0) -> JudgedSamples:
    generator = np.random.default_rng(seed)
    return JudgedSamples(
        episode=generator.integers(-3, 9, rows),
        step=generator.integers(0, 99, rows),
        source=generator.integers(0, 3, rows).astype(np.uint8),
        influence=generator.normal(size=rows).astype(np.float32),
        kept=generator.uniform(size=rows) < 0.8,
        lower=0.25,
        upper=1.5,
        rule="random",
        enabled=False,
    )


def steps_in(folder: Path) -> list[int]:
    return [step for step, _ in selection_files(folder)]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    samples = judged(256)
    SelectionLog(tmp_path / "selection", 100).write(300, samples)
    ((step, path),) = selection_files(tmp_path / "selection")
    assert (step, path.name) == (300, "step_000000300.parquet")
    assert path.stat().st_size < 12_000
    read = read_samples(path)
    for name in ("episode", "step", "source", "influence", "kept"):
        assert np.array_equal(getattr(read, name), getattr(samples, name)), name
        assert getattr(read, name).dtype == getattr(samples, name).dtype, name
    assert (read.lower, read.upper, read.rule, read.enabled) == (0.25, 1.5, "random", False)
    assert len(read) == 256


@pytest.mark.parametrize("fault", ["cut", "other", "text"])
def test_a_damaged_file_is_named(tmp_path: Path, fault: str) -> None:
    SelectionLog(tmp_path, 100).write(1, judged())
    ((_, path),) = selection_files(tmp_path)
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif fault == "text":
        path.write_text("nothing of the kind")
    else:
        module.pq.write_table(module.pa.table({"step": [1]}), path)
    with pytest.raises(DamagedSelectionError, match=r"step_000000001\.parquet is damaged: \S"):
        read_samples(path)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=100))
def test_the_files_cover_the_run_and_end_with_its_last(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int]
) -> None:
    folder, written = tmp_path_factory.mktemp("log"), np.cumsum(lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LARGEST", 10)
        log = SelectionLog(folder, 100)
        for step in written:
            log.write(int(step), judged())
            assert len(steps_in(folder)) <= 10
    kept = steps_in(folder)
    longest = max(100, written[-1] / 5)
    assert kept[-1] == written[-1]
    assert all(after - at <= 2 * longest + 400 for at, after in pairwise([0, *kept]))


def test_every_second_file_goes_when_the_log_is_full(tmp_path: Path) -> None:
    log = SelectionLog(tmp_path, 100)
    for step in range(100, 100 * LARGEST + 100, 100):
        log.write(step, judged())
    assert steps_in(tmp_path) == list(range(100, 100 * LARGEST + 100, 100))
    for step in range(100 * LARGEST + 100, 100 * LARGEST + 400, 100):
        log.write(step, judged())
    evenly = list(range(200, 100 * LARGEST + 300, 200))
    assert steps_in(tmp_path) == [*evenly, 100 * LARGEST + 300]


def test_a_resumed_run_drops_the_files_of_its_undone_steps_when_it_writes(tmp_path: Path) -> None:
    log = SelectionLog(tmp_path, 100)
    for step in (100, 200, 300, 400):
        log.write(step, judged())
    resumed = SelectionLog(tmp_path, 100)
    resumed.go_on_from(200)
    assert steps_in(tmp_path) == [100, 200, 300, 400]  # an evaluation of a checkpoint deletes none
    resumed.write(450, judged())  # it also took logged episodes in
    resumed.write(550, judged())
    assert steps_in(tmp_path) == [100, 200, 450, 550]
    log.go_on_from(100)
    log.write(200, judged(seed=3))
    assert steps_in(tmp_path) == [100, 200]
    assert read_samples(selection_files(tmp_path)[-1][1]).step[0] == judged(seed=3).step[0]


def test_a_new_run_in_a_used_folder_starts_over(tmp_path: Path) -> None:
    SelectionLog(tmp_path, 100).write(900, judged())
    SelectionLog(tmp_path, 100).write(100, judged())
    assert steps_in(tmp_path) == [100]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    assert selection_files(tmp_path / "none") == []
    names = (".step_000000100.parquet.7.tmp", "step_9.parquet", "notes.txt")
    for name in names:
        (tmp_path / name).write_text("mine")
    SelectionLog(tmp_path, 100).write(1, judged())
    assert steps_in(tmp_path) == [1]
    assert all((tmp_path / name).exists() for name in names)
