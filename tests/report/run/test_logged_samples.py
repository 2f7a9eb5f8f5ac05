"""All samples that a run logged, joined with its episodes."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np

from e2hil_rllib.data.episodes import episode_path, read_episode
from e2hil_rllib.report.run.logged_samples import logged_samples, tcp_positions
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.run.selection_log import read_samples, selection_files
from tests.report import runs
from tests.report.comparisons import write_run


def test_all_minibatches_are_read(tmp_path: Path) -> None:
    run = write_run(tmp_path, "hil_serl", 0, minibatches=3)
    notes: list[str] = []
    samples = logged_samples(run, notes)
    assert samples is not None and len(samples) == 3 * 256 and not samples.enabled and not notes
    second = read_samples(selection_files(run.selection)[1][1])
    assert np.array_equal(samples.magnitude[256:512], np.abs(second.influence))
    assert np.array_equal(samples.kept[256:512], second.kept)


def test_damaged_files_are_left_out_with_a_note(tmp_path: Path) -> None:
    run = write_run(tmp_path, "e2hil", 0, minibatches=2)
    paths = [path for _, path in selection_files(run.selection)]
    notes: list[str] = []
    runs.damage(paths[0])
    samples = logged_samples(run, notes)
    assert samples is not None and len(samples) == 256 and len(notes) == 1
    assert "step_000000100.parquet is damaged" in notes[0]
    runs.damage(paths[1])
    assert logged_samples(run, notes) is None
    assert logged_samples(RunFolder(tmp_path / "none"), notes) is None


def test_a_sample_is_placed_at_the_arms_position(tmp_path: Path) -> None:
    run = write_run(tmp_path, "e2hil", 0)
    notes: list[str] = []
    samples = logged_samples(run, notes)
    assert samples is not None
    positions = tcp_positions(run, samples, notes)
    assert not notes and np.isfinite(positions).all()
    for row in (0, 200):  # one of training, one of a demonstration
        index, step = int(samples.episode[row]), int(samples.step[row])
        folder = run.episodes if index >= 0 else run.demonstrations
        episode = read_episode(episode_path(folder, index if index >= 0 else -1 - index))
        assert np.array_equal(positions[row], episode.observations["state"][step, -3:])


def test_episodes_that_are_missing_damaged_or_renamed_leave_their_samples_out(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path, "e2hil", 0)
    samples = logged_samples(run, [])
    assert samples is not None
    paths = [episode_path(run.episodes, number) for number in range(6)]
    paths[0].unlink()
    runs.damage(paths[1])
    shutil.copy(paths[3], paths[2])
    notes: list[str] = []
    found = np.isfinite(tcp_positions(run, samples, notes)).all(axis=1)
    assert np.array_equal(found, ~np.isin(samples.episode, (0, 1, 2)))
    damaged, renamed, missing = notes
    assert "episode_000001.parquet is damaged" in damaged and "holds episode 3" in renamed
    assert f"the episodes of {(samples.episode == 0).sum()} of 1024 samples" in missing
    beyond = dataclasses.replace(samples, step=samples.step + 2)
    notes.clear()
    tcp_positions(run, beyond, notes)
    assert any("it has no step 31" in note for note in notes)


def test_observations_without_a_position_are_noted_once(tmp_path: Path) -> None:
    run = runs.run_in(tmp_path)
    for episode in range(4):
        runs.add_episode(run.episodes, episode, 10, cameras=False)  # a state of two entries
    runs.log_selection(run, 100, runs.judged_samples([0, 1, 2, 3]))
    notes: list[str] = []
    samples = logged_samples(run, notes)
    assert samples is not None and np.isnan(tcp_positions(run, samples, notes)).all()
    assert len(notes) == 1 and "a 'state' of 2 entries holds no TCP's position" in notes[0]
