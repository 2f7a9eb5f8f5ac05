"""The command itself, in a process of its own and with the real algorithm."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.commands.cli.common import SHIPPED, settings_file
from e2hil_rllib.run.evaluation_log import read_evaluations
from e2hil_rllib.run.progress import STEP, read_rows
from e2hil_rllib.run.run_folder import RunFolder

PENDULUM = """
task: Pendulum-v1
stop: {steps: 10000}
entropy_selection: {num_action_samples: 2}
human_in_the_loop: {interventions: false, demonstration_fraction: 0}
training:
  train_batch_size_per_learner: 8
  hidden_sizes: [8]
  encoder_size: 8
  steps_per_iteration: 20
checkpoint: {every_steps: 40}
evaluation: {episodes: 2}
"""


def e2hil(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "pendulum.yaml"
    path.write_text(PENDULUM)
    return path


COMMANDS = (
    "", "train", "eval", "record", "report", "crop", "virtual", "doctor", "calibrate",
    "setup-motors", "teleop", "replay",
    "classifier train", "classifier record",
)  # fmt: skip


@pytest.mark.parametrize("command", [command.split() for command in COMMANDS])
def test_every_command_has_help(command: list[str]) -> None:
    result = e2hil(*command, "--help")
    assert result.exit_code == 0 and "Usage" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{config}", "--set", "training.udt_ratio=3"], "Did you mean utd_ratio"),
        (["train", "{folder}/nothing.yaml"], "There is no file"),
        (["eval", "{folder}/run"], "There is no folder"),
        (["eval", "{folder}"], "not a run folder"),
        (["report", "{folder}"], "not a run folder"),
        (["record", "{config}", "--out", "{folder}/demos"], "cannot be made with a person"),
        (["train", "{config}", "--set", "entropy_selection.num_action_samples=1"], "equal to 2"),
        (["train", "{config}", "--set", "demonstrations={{path: nowhere}}"], "demonstrations.path"),
    ],
)
def test_what_the_user_can_mend_is_one_message(
    tmp_path: Path, config: Path, arguments: list[str], message: str
) -> None:
    filled = [argument.format(config=config, folder=tmp_path) for argument in arguments]
    if filled[0] == "train":
        filled += ["--run-dir", str(tmp_path / "run")]
    result = e2hil(*filled)
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ") and "Traceback" not in result.output
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_debug_shows_where_an_error_arose(tmp_path: Path) -> None:
    assert e2hil("report", tmp_path, "--debug").exception.__class__.__name__ == "RunFolderError"


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path, config: Path) -> None:
    run = RunFolder(tmp_path / "run")
    command = [sys.executable, "-m", "e2hil_rllib", "train", config, "--run-dir", run.root]
    with subprocess.Popen(command, start_new_session=True) as first:
        _wait_for_checkpoint(run, first)
        first.send_signal(signal.SIGKILL)
    checkpoint = run.checkpoints().latest()
    assert checkpoint is not None
    step = run.checkpoints().step_of(checkpoint)
    end = (step // 40 + 2) * 40
    rest = [*command, "--resume", "--set", f"stop.steps={end}"]
    second = subprocess.run(rest, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    rows = read_rows(run.progress)
    steps = [row[STEP] for row in rows]
    assert steps == sorted(set(steps)) and steps[-1] >= end
    updates = {row[STEP]: row["num_updates_lifetime"] for row in rows}
    assert all(updates[s] > updates[t] for s, t in zip(steps[1:], steps, strict=False))
    assert [episode.seed for episode in read_evaluations(run.evaluation)] == [100_000, 100_001]
    assert (run.report / "index.html").exists()
    again = e2hil("eval", run.root, "--episodes", 1)
    assert again.exit_code == 0 and "Evaluation at step" in again.output
    every = e2hil("eval", run.root, "--all", "--episodes", 1)
    assert every.exit_code == 0, every.output
    saved = [run.checkpoints().step_of(path) for path in run.checkpoints().all()]
    assert [episode.step for episode in read_evaluations(run.evaluation)] == saved


def _wait_for_checkpoint(run: RunFolder, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while run.checkpoints().latest() is None:
        assert process.poll() is None, "training ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint within two minutes"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("touch_cube", SHIPPED / "touch_cube.yaml"),
        ("mine", "mine"),
        ("a/touch_cube", "a/touch_cube"),
    ],
)
def test_a_bare_name_is_a_shipped_settings_file(given, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert settings_file(Path(given)) == Path(found)


def test_a_file_in_the_folder_wins_over_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("touch_cube").write_text("")
    assert settings_file(Path("touch_cube")) == Path("touch_cube")


def test_version_is_that_of_the_package():
    assert e2hil("--version").output.split()[0] == "e2hil-rllib"
