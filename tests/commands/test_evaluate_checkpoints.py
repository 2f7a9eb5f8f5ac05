"""`e2hil eval --all`: every checkpoint once, kept in the run; test_cli.py runs it for real."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from e2hil_rllib.commands import evaluate as evaluation
from e2hil_rllib.commands import evaluate_checkpoints as module
from e2hil_rllib.commands.evaluate_checkpoints import evaluate_checkpoints
from e2hil_rllib.run.checkpoints import CheckpointError
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode, read_evaluations, write_evaluations
from e2hil_rllib.run.run_folder import RunFolder, RunFolderError
from e2hil_rllib.settings.run_settings import Settings, load_settings

CONFIGS = Path(__file__).parents[2] / "configs"


class Policy:
    """Succeeds from the checkpoint of step 200 on, in the place of a restored algorithm."""

    def __init__(self, checkpoint: Path) -> None:
        self._success = int(checkpoint.name[-9:]) >= 200

    def evaluate_episodes(self, num_episodes: int, seed: int) -> Iterator[dict[str, Any]]:
        for number in range(num_episodes):
            yield {
                "seed": seed + number, "success": self._success, "task_succeed": None, "steps": 5,
                "return": 1.0, "info": {"start": "left" if number % 2 else "right"},
            }  # fmt: skip

    def stop(self) -> None:
        pass


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The checkpoints that were restored, in their order."""
    names: list[str] = []

    def restore(checkpoint: Path) -> Policy:
        names.append(checkpoint.name[-3:])
        return Policy(checkpoint)

    monkeypatch.setattr(evaluation, "restore", restore)
    monkeypatch.setattr(module, "ray_session", lambda settings: contextlib.nullcontext())
    return names


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with checkpoints at 0, 100 and 200, of which the last one was evaluated."""
    run = RunFolder(tmp_path / "run")
    for step in (0, 100, 200):
        (run.root / "checkpoints" / f"step_{step:09d}").mkdir(parents=True)
    run.write_settings(Settings.model_validate({"task": "Pendulum-v1", "stop": {"steps": 200}}))
    write_evaluations(
        run.evaluation,
        [EvaluatedEpisode(200, seed, True, 5, 1.0, "", None) for seed in range(100_000, 100_004)],
    )
    return run


def evaluate(run: RunFolder, episodes: int = 4) -> str:
    said = io.StringIO()
    evaluate_checkpoints(run.root, episodes, None, Console(file=said, width=200))
    return said.getvalue()


def test_what_is_not_evaluated_yet_is_and_stays_in_the_run(run: RunFolder, restored: list[str]):
    said = evaluate(run)
    assert restored == ["000", "100"]
    assert "step 100: 0 % (0 to 49 %) of 4 episodes, left 0 %, right 0 %" in said
    assert "step 200: 100 % (51 to 100 %) of 4 episodes" in said
    episodes = read_evaluations(run.evaluation)
    assert [(e.step, e.success) for e in episodes[::4]] == [(0, False), (100, False), (200, True)]
    assert [e.seed for e in episodes[:4]] == list(range(100_000, 100_004))
    evaluate(run)
    assert restored == ["000", "100"]


def test_other_episodes_take_the_place_of_earlier_ones(run: RunFolder, restored: list[str]):
    evaluate(run, episodes=2)
    assert restored == ["000", "100", "200"]
    assert [e.step for e in read_evaluations(run.evaluation)] == [0, 0, 100, 100, 200, 200]


def test_a_stop_loses_no_checkpoint_that_was_evaluated(
    run: RunFolder, restored: list[str], monkeypatch: pytest.MonkeyPatch
):
    known = evaluation.restore

    def stopped(checkpoint: Path) -> Policy:
        if checkpoint.name.endswith("100"):
            raise KeyboardInterrupt
        return known(checkpoint)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(evaluation, "restore", stopped)
        evaluate(run)
    assert sorted({e.step for e in read_evaluations(run.evaluation)}) == [0, 200]
    evaluate(run)
    assert restored == ["000", "100"]


def test_a_run_that_trains_or_has_no_checkpoint_is_refused(run: RunFolder, tmp_path: Path):
    with run.locked(), pytest.raises(RunFolderError, match="is training in"):
        evaluate(run)
    empty = RunFolder(tmp_path / "empty")
    empty.root.mkdir()
    empty.write_settings(run.settings())
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        evaluate(empty)
    robot = RunFolder(tmp_path / "robot")
    robot.root.mkdir()
    robot.write_settings(load_settings(CONFIGS / "so101_real.yaml"))
    with pytest.raises(CheckpointError, match="one of a robot"):
        evaluate(robot)
