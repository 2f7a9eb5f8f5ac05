"""The course of a run: rows, checkpoints, stops and resumes, with a stand-in for the algorithm."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from rich.console import Console

from e2hil_rllib.commands import train as module
from e2hil_rllib.commands.train import TrainingError, draw_run_crops, train
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.disk.files import WriteError
from e2hil_rllib.run.evaluation_log import read_evaluations
from e2hil_rllib.run.progress import STEP, read_rows
from e2hil_rllib.run.run_folder import RunFolder, RunFolderError
from e2hil_rllib.settings.build import ray_session
from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.yaml_file import SettingsError


class Counter:
    """Counts 100 steps in each iteration; calls `on_step` with the steps so far."""

    robots: Any = None
    robot_training: Any = None

    def __init__(self, step: int = 0, on_step: Callable[[int], None] = lambda step: None) -> None:
        self.step = step
        self.on_step = on_step
        self.stopped = False

    def train(self) -> dict[str, Any]:
        self.step += 100
        self.on_step(self.step)
        rates = {"success_rate": self.step / 1000, "autonomous_success_rate": self.step / 1000}
        return {STEP: self.step, "env_runners": rates, "config": {"lr": 1}}

    def warm_start(self, progress: Callable[[int, int], None]) -> int:
        progress(1, 1)
        return 1

    def save_to_path(self, path: str) -> None:
        (Path(path) / "step").write_text(str(self.step))

    def evaluate_episodes(self, num_episodes: int, seed: int) -> Any:
        for number in range(num_episodes):
            start = {"start": "left" if number % 2 else "right"}
            yield {
                "seed": seed + number, "success": True, "task_succeed": None, "steps": 5,
                "return": 1.0, "info": start,
            }  # fmt: skip

    def stop(self) -> None:
        self.stopped = True


class Workshop:
    """Runs `train` in a folder with `Counter` in place of the algorithm."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        self.run = RunFolder("run")
        self.output = io.StringIO()
        self.algorithm = Counter()
        self.on_step: Callable[[int], None] = lambda step: None
        monkeypatch.setattr(module, "ray_session", lambda settings: contextlib.nullcontext())
        monkeypatch.setattr(module, "check_settings", lambda settings, run: None)
        monkeypatch.setattr(module, "build", lambda settings, run: self._made(0))
        monkeypatch.setattr(module, "resume_from", self._restored)
        self.drawn: list[tuple[int, Path]] = []
        monkeypatch.setattr(
            module, "draw_run_crops", lambda algo, folder: self.drawn.append((algo.step, folder))
        )

    def _made(self, step: int) -> Counter:
        self.algorithm = Counter(step, self.on_step)
        return self.algorithm

    def _restored(self, checkpoint: Path, settings: Settings, run: RunFolder) -> Counter:
        return self._made(int((checkpoint / "step").read_text()))

    def train(self, resume: bool = False, **values: Any) -> bool:
        defaults = {
            "task": "Pendulum-v1",
            "stop": {"steps": 500},
            "checkpoint": {"every_steps": 200, "keep": 2},
            "evaluation": {"episodes": 4},
        }
        settings = Settings.model_validate(defaults | values)
        return train(settings, self.run, resume, Console(file=self.output, width=250))

    @property
    def rows(self) -> list[float]:
        return [row[STEP] for row in read_rows(self.run.progress)]

    @property
    def saved(self) -> list[str]:
        return [path.name[-4:] for path in self.run.checkpoints().all()]

    @property
    def said(self) -> str:
        return self.output.getvalue()


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    return Workshop(tmp_path, monkeypatch)


def interrupt_at(wanted: int) -> Callable[[int], None]:
    def on_step(step: int) -> None:
        if step == wanted:
            os.kill(os.getpid(), signal.SIGINT)

    return on_step


def test_a_run_ends_with_a_checkpoint_an_evaluation_and_a_report(workshop: Workshop) -> None:
    assert workshop.train()
    assert workshop.rows == [100, 200, 300, 400, 500]
    assert workshop.saved == ["0400", "0500"]
    assert [(e.step, e.seed - 100_000) for e in read_evaluations(workshop.run.evaluation)] == [
        (500, 0), (500, 1), (500, 2), (500, 3)
    ]  # fmt: skip
    assert (workshop.run.report / "index.html").exists() and workshop.algorithm.stopped
    assert "100 %" in workshop.said and "left" in workshop.said and "right" in workshop.said


def test_the_cameras_crops_are_drawn_once_in_each_process(workshop: Workshop) -> None:
    workshop.train()
    workshop.train(resume=True, stop={"steps": 700})
    assert workshop.drawn == [(100, workshop.run.crops), (600, workshop.run.crops)]


class Watched(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Has a camera, and counts how often it is started."""

    observation_space = gymnasium.spaces.Dict(
        {"front": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)}
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    made = resets = 0

    def __init__(self, cameras: bool = True) -> None:
        Watched.made += 1
        region = SimpleNamespace(left=4, top=2, width=16, height=16)
        view = SimpleNamespace(crop=region, apply=lambda frame: frame[2:18, 4:20])
        raw = np.full((24, 32, 3), (0, 200, 0), np.uint8)
        self.cameras = SimpleNamespace(raw=lambda: {"front": raw}, views={"front": view})
        if not cameras:
            self.cameras = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        Watched.resets += 1
        return {"front": np.full((16, 16, 3), 90, np.uint8)}, {}

    def step(self, action: np.ndarray) -> Any:
        return {"front": np.full((16, 16, 3), 90, np.uint8)}, 0.0, False, False, {}


gymnasium.register("TestTrainWatched-v0", Watched, disable_env_checker=True)


@pytest.mark.slow
def test_crops_are_drawn_from_the_environment_that_is_stepped(tmp_path: Path) -> None:
    with ray_session(Settings.model_validate({"task": "Pendulum-v1", "stop": {"steps": 1}})):
        for cameras, pictures in ((True, ["front.png"]), (False, [])):
            config = E2HiLConfig()
            config.environment("TestTrainWatched-v0", env_config={"cameras": cameras})
            config.human_in_the_loop(interventions=False, demonstration_fraction=0)
            config.training(steps_per_iteration=3, encoder_size=8, hidden_sizes=(8,))
            algorithm = config.build_algo()
            algorithm.train()
            before = (Watched.made, Watched.resets)
            folder = tmp_path / f"{cameras}"
            draw_run_crops(algorithm, folder)
            assert (Watched.made, Watched.resets) == before
            assert [path.name for path in folder.glob("*")] == pictures
            assert folder.exists() == cameras
            algorithm.stop()


def test_ctrl_c_finishes_the_iteration_saves_and_says_how_to_go_on(workshop: Workshop) -> None:
    workshop.on_step = interrupt_at(300)
    assert not workshop.train()
    assert workshop.rows == [100, 200, 300] and workshop.saved == ["0200", "0300"]
    assert "--resume" in workshop.said and not workshop.run.evaluation.exists()
    workshop.on_step = lambda step: None
    assert workshop.train(resume=True)
    assert workshop.rows == [100, 200, 300, 400, 500]


def test_a_crash_costs_only_what_came_after_the_last_checkpoint(workshop: Workshop) -> None:
    def crash(step: int) -> None:
        if step == 400:
            raise RuntimeError("crash")

    workshop.on_step = crash
    with pytest.raises(TrainingError, match="crash"):
        workshop.train()
    assert workshop.rows == [100, 200, 300] and workshop.saved == ["0000", "0200"]
    workshop.on_step = lambda step: None
    assert workshop.train(resume=True)
    assert workshop.rows == [100, 200, 300, 400, 500]


def test_a_finished_run_is_left_as_it_is_and_can_be_made_longer(workshop: Workshop) -> None:
    workshop.train()
    assert workshop.train(resume=True) and "This run has ended" in workshop.said
    assert workshop.rows == [100, 200, 300, 400, 500]
    assert len(read_evaluations(workshop.run.evaluation)) == 4
    assert workshop.train(resume=True, stop={"steps": 700})
    assert workshop.rows[-2:] == [600, 700] and workshop.run.settings().stop.steps == 700


def test_resume_starts_a_run_where_there_is_none(workshop: Workshop) -> None:
    assert workshop.train(resume=True)
    assert workshop.rows[0] == 100


def test_training_ends_early_at_the_wanted_success(workshop: Workshop) -> None:
    workshop.train(stop={"steps": 900, "autonomous_success_rate": 0.3})
    assert workshop.rows == [100, 200, 300]


def test_a_few_lucky_episodes_end_no_training(workshop: Workshop, monkeypatch: Any) -> None:
    """The rate is of 100 episodes; before there are so many, training goes on."""
    counted = Counter.train

    def train(self: Counter) -> dict[str, Any]:
        return counted(self) | {"num_episodes_lifetime": self.step / 4}

    monkeypatch.setattr(Counter, "train", train)
    workshop.train(stop={"steps": 900, "autonomous_success_rate": 0.1})
    assert workshop.rows[-1] == 500  # 125 episodes; 100 at step 400 may hold an open one


def test_training_ends_once_three_evaluations_in_a_row_reach_the_wanted_success(
    workshop: Workshop,
) -> None:
    workshop.train(
        stop={"steps": 900, "lasting_success": 0.9}, evaluation={"episodes": 2, "every_steps": 200}
    )
    assert workshop.rows[-1] == 600
    with pytest.raises(ValueError, match=r"set evaluation\.every_steps"):
        workshop.train(stop={"steps": 900, "lasting_success": 0.9})


def test_a_new_run_begins_with_the_demonstrations_and_a_resumed_one_does_not(
    workshop: Workshop,
) -> None:
    workshop.train()
    assert "Learned from the demonstrations: 1 updates" in workshop.output.getvalue()
    workshop.output.truncate(0)
    workshop.train(resume=True, stop={"steps": 700})
    assert "Learned from the demonstrations" not in workshop.output.getvalue()


def test_evaluations_on_the_way_are_rows_and_columns(workshop: Workshop) -> None:
    workshop.train(evaluation={"episodes": 2, "every_steps": 200})
    episodes = read_evaluations(workshop.run.evaluation)
    assert [episode.step for episode in episodes] == [200, 200, 400, 400, 500, 500]
    rows = read_rows(workshop.run.progress)
    assert [row.get("evaluation/success_rate") for row in rows] == [None, 1.0, None, 1.0, None]


def test_a_folder_in_use_is_not_overwritten(workshop: Workshop) -> None:
    workshop.train()
    with pytest.raises(RunFolderError, match="--resume"):
        workshop.train()
    with pytest.raises(RunFolderError, match="other values of seed, training"):
        workshop.train(resume=True, seed=1, training={"utd_ratio": 3})


def test_a_folder_of_something_else_is_not_touched(workshop: Workshop) -> None:
    workshop.run.root.mkdir()
    (workshop.run.root / "thesis.tex").write_text("mine")
    with pytest.raises(RunFolderError, match="holds files, but no run"):
        workshop.train(resume=True)


def test_an_error_of_the_environment_names_the_newest_checkpoint(workshop: Workshop) -> None:
    def broken(step: int) -> None:
        if step == 300:
            raise ValueError("observation 'state' is NaN")

    workshop.on_step = broken
    with pytest.raises(TrainingError, match=r"'state' is NaN.*step_000000200"):
        workshop.train()
    assert workshop.algorithm.stopped


@pytest.mark.parametrize("error", [OSError(28, "No space left"), WriteError("No space left.")])
def test_a_full_disk_names_the_newest_checkpoint(workshop: Workshop, error: Exception) -> None:
    def full(step: int) -> None:
        if step == 300:
            raise error

    workshop.on_step = full
    with pytest.raises(TrainingError, match=r"No space left\. The newest .*step_000000200"):
        workshop.train()


def test_settings_that_could_not_be_used_do_not_spoil_the_folder(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(settings: Settings, run: RunFolder) -> None:
        raise SettingsError("there is no such task")

    with monkeypatch.context() as patch:
        patch.setattr(module, "build", refuse)
        with pytest.raises(SettingsError):
            workshop.train(env={"cubes": 3})
    assert workshop.train()


def test_settings_that_fit_no_checkpoint_leave_the_run_as_it_is(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.train()

    def refuse(checkpoint: Path, settings: Settings, run: RunFolder) -> None:
        raise SettingsError("there is no such task")

    with monkeypatch.context() as patch:
        patch.setattr(module, "resume_from", refuse)
        with pytest.raises(SettingsError):
            workshop.train(resume=True)
    assert workshop.train(resume=True)
