"""A whole comparison: killed and resumed, with a trial that crashes, and its refusals."""

from __future__ import annotations

import contextlib
import csv
import io
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from e2hil_rllib.data.episodes import episode_files
from e2hil_rllib.run.progress import STEP, read_rows
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.yaml_file import SettingsError
from tests.helpers import ReachEnv
from tests.tune_scripts.reach import write_task
from tune_scripts import session
from tune_scripts.commands import COMMANDS, CommandRow
from tune_scripts.compare import run as sweep
from tune_scripts.compare.command import BUDGETS, app
from tune_scripts.compare.methods import with_settings
from tune_scripts.compare.plan import PlanError, Trial, load_task, plan_trials
from tune_scripts.compare.results import read_results, read_table
from tune_scripts.compare.run import Ended, Share, run_sweep

ROOT = Path(__file__).parents[3]
STEPS = 160
ITERATION = 20  # steps, as in tests/tune_scripts/reach.py


@pytest.fixture
def trials(tmp_path: Path) -> list[Trial]:
    """A trial of some seconds, with demonstrations, and one with a broken environment."""
    configs = tmp_path / "configs"
    write_task(
        configs, "reach", env={"human_every": 1}, demonstrations={"record": 2},
        human_in_the_loop={}, stop={"steps": STEPS},
    )  # fmt: skip
    write_task(configs, "broken", env={"fault": "crash"})
    tasks = {name: load_task(configs, name, []) for name in ("reach", "broken")}
    return plan_trials(tasks, ["hil_serl"], range(1))


def kill_in_the_middle(arguments: list[str], checkpoints: Path, patience: float = 90.0) -> None:
    """Run a comparison and kill it as soon as a trial has checkpoints."""
    process = subprocess.Popen([sys.executable, "-m", "tune_scripts.compare", *arguments], cwd=ROOT)
    end = time.monotonic() + patience
    try:
        while not any(int(path.name[-9:]) >= 20 for path in checkpoints.glob("step_*")):
            assert process.poll() is None, "the comparison ended before it could be killed"
            assert time.monotonic() < end, "no checkpoint was written"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_killed_comparison_resumes_and_a_crashed_trial_stops_no_other(tmp_path, trials):
    out = tmp_path / "out"
    run = RunFolder(out / trials[0].run_dir)
    arguments = ["--tasks", "reach", "--methods", "hil_serl", "--seeds", "1", "--out", str(out)]
    arguments += ["--configs", str(tmp_path / "configs"), "--any-version"]
    kill_in_the_middle(arguments, run.checkpoints().folder)
    assert read_results(out / "results.csv") == []
    began = read_rows(run.progress)
    recorded = [path.read_bytes() for path in episode_files(out / "demonstrations/reach/seed_0")]

    said = io.StringIO()
    ended = run_sweep(trials, out, Console(file=said, width=200), any_version=True)

    assert (ended, ended.exit_status) == (Ended(open=1, failed=1), 1)
    (row,) = read_results(out / "results.csv")
    assert (row["task"], row["method"], row["seed"]) == ("reach", "hil_serl", "0")
    assert row["run_dir"] == trials[0].run_dir
    assert "Going on from" in run.root.with_name("seed_0.log").read_text()
    steps = [row[STEP] for row in read_rows(run.progress)]
    assert steps == sorted(set(steps))
    # What was logged after the checkpoint is taken in before the next whole iteration.
    assert row["steps"] == f"{steps[-1]:.0f}"
    assert STEPS <= steps[-1] < STEPS + ITERATION and began[-1][STEP] < STEPS
    assert [p.read_bytes() for p in episode_files(out / "demonstrations/reach/seed_0")] == recorded
    with (out / "errors.csv").open() as file:
        (failed,) = csv.DictReader(file)
    assert (failed["task"], failed["run_dir"]) == ("broken", trials[1].run_dir)
    assert "the motor is on fire" in failed["error"]
    assert "[2/2]" in said.getvalue()
    assert "failed: broken hil_serl seed 0: Training stopped: the motor is on fire" in " ".join(
        said.getvalue().split()
    )

    again = run_sweep(trials[:1], out, Console(quiet=True), any_version=True)
    assert (again, again.exit_status) == (Ended(open=0, failed=0), 0)
    assert len(read_results(out / "results.csv")) == 1


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """Names of the trials that would have run; Ray and its resources are replaced."""
    started: list[list[str]] = []
    monkeypatch.setattr(sweep, "ray_running", lambda address, share: contextlib.nullcontext())
    monkeypatch.setattr(
        sweep, "_tune", lambda assignments, *rest: started.append([a.task for a in assignments])
    )
    yield started


def test_stopped_trials_are_reported_as_open(tmp_path, trials, without_ray):
    said = io.StringIO()
    ended = run_sweep(trials, tmp_path / "out", Console(file=said, width=200))
    assert without_ray == [["reach", "broken"]]
    assert ended.exit_status == 130
    assert "2 trials are open; the same command resumes them" in said.getvalue()


def test_two_comparisons_cannot_use_one_folder(tmp_path, trials, without_ray):
    with (
        session.only_one(tmp_path / "out"),
        pytest.raises(PlanError, match="Another experiment is running"),
    ):
        run_sweep(trials, tmp_path / "out", Console(quiet=True))


def test_demonstrations_of_other_settings_are_not_taken(tmp_path, trials, without_ray):
    run_sweep(trials, tmp_path / "out", Console(quiet=True))
    write_task(
        tmp_path / "configs", "reach", env={"human_every": 1, "limit": 21},
        demonstrations={"record": 2}, human_in_the_loop={},
    )  # fmt: skip
    other = plan_trials(
        {"reach": load_task(tmp_path / "configs", "reach", [])}, ["e2hil_paper"], [0]
    )
    with pytest.raises(PlanError, match="recorded with other settings"):
        run_sweep(other, tmp_path / "out", Console(quiet=True))


def test_options_take_several_values_and_errors_name_what_to_do(tmp_path):
    arguments = ["--tasks", "touch_cube", "pikc_cube", "--set", "env.limit=9", "env.reward=dense"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "There is no task 'pikc_cube'" in done.output
    assert "Did you mean pick_cube" in done.output
    assert not (tmp_path / "out").exists()


@pytest.fixture
def planned(monkeypatch):
    """Trials that the command plans, without running them."""
    planned: list[Trial] = []

    def run(trials, *rest):
        planned[:] = trials
        return Ended(0, 0)

    monkeypatch.setattr(sweep, "run_sweep", run)
    yield planned


def test_persons_and_evaluations_are_those_of_the_options(tmp_path, planned):
    common = [
        "--tasks",
        "touch_cube",
        "--methods",
        "e2hil_paper",
        "--seeds",
        "1",
        "--out",
        str(tmp_path),
    ]
    assert CliRunner().invoke(app, common).exit_code == 0
    (trial,) = planned
    assert (trial.person, trial.settings.evaluation.every_steps) == ("", 500)
    assert "patience" not in trial.settings.env["operator"]  # those of the settings file hold
    options = ["--patience", "0.6", "3", "--skill", "0.5", "--evaluate-every", "250"]
    assert CliRunner().invoke(app, [*common, *options]).exit_code == 0
    assert [trial.person for trial in planned] == ["patience_0.6_skill_0.5", "patience_3_skill_0.5"]
    assert {trial.settings.evaluation.every_steps for trial in planned} == {250}
    operators = [trial.settings.env["operator"] for trial in planned]
    assert [operator["patience"] for operator in operators] == [0.6, 3]
    assert {operator["attention"] for operator in operators} == {0.9}


def test_each_persons_environment_is_checked_before_anything_starts(tmp_path, planned, without_ray):
    options = ["--patience", "0.6", "99", "--methods", "e2hil_paper", "--seeds", "1"]
    CliRunner().invoke(app, ["--tasks", "touch_cube", "--out", str(tmp_path / "out"), *options])
    with pytest.raises(SettingsError, match=r"operator\.patience must be a number from 0\.1 to 30"):
        run_sweep(planned, tmp_path / "out", Console(quiet=True))
    assert without_ray == [] and not (tmp_path / "out" / "demonstrations").exists()


@pytest.mark.parametrize(
    ("override", "instead"),
    [
        ("seed=1", "give --seeds and --first-seed"),
        ("stop.steps=9", "give --steps"),
        ("training.num_critics=4", "the method rlpd10 is made of it"),
        ("evaluation.every_steps=9", "give --evaluate-every"),
        ("env.operator.patience=2", "--patience sets it"),
    ],
)
def test_an_override_that_would_have_no_effect_is_refused(tmp_path, override, instead):
    common = ["--tasks", "touch_cube", "--methods", "e2hil_paper", "rlpd10", "--out", str(tmp_path)]
    common += ["--patience", "0.6", "3"]
    done = CliRunner().invoke(app, [*common, "--set", "env.reward=dense", override])
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert f"--set {override} would have no effect: {instead}" in said


def test_only_an_accepted_start_is_noted(tmp_path, trials, without_ray):
    out, console = tmp_path / "out", Console(quiet=True)
    typed = ["--tasks", "reach", "--out", str(out)]
    wrong = [replace(trials[0], settings=with_settings(trials[0].settings, "env={limmit: 3}"))]
    with pytest.raises(SettingsError, match="limmit"):
        run_sweep(wrong, out, console, typed=typed)
    assert not (out / COMMANDS).exists()
    run_sweep(trials, out, console, typed=typed)
    (row,) = read_table(out / COMMANDS, CommandRow)
    assert row["command"] == "python -m tune_scripts.compare --tasks reach --out out"


def test_a_task_that_does_not_tell_success_is_refused(tmp_path, without_ray):
    (tmp_path / "pendulum.yaml").write_text(
        "{task: Pendulum-v1, stop: {steps: 60}, "
        "human_in_the_loop: {interventions: false, demonstration_fraction: 0}}"
    )
    task = {"pendulum": load_task(tmp_path, "pendulum", [])}
    with pytest.raises(PlanError, match="pendulum does not tell success"):
        run_sweep(plan_trials(task, ["e2hil_paper"], [0]), tmp_path / "out", Console(quiet=True))
    assert without_ray == []


def test_an_environment_that_cannot_be_reset_is_refused(tmp_path, trials, without_ray, monkeypatch):
    def reset(self, **options):
        raise RuntimeError("no table")

    monkeypatch.setattr(ReachEnv, "reset", reset)
    with pytest.raises(PlanError, match="reach cannot be reset: no table"):
        run_sweep(trials, tmp_path / "out", Console(quiet=True))


def test_gpus_are_looked_for_where_the_trials_run(tmp_path, trials, without_ray, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    settings = with_settings(trials[0].settings, "resources.num_gpus_per_learner=1")
    wanting = [replace(trials[0], settings=settings)]
    with pytest.raises(SettingsError, match="need 1 GPUs, PyTorch finds 0 here"):
        run_sweep(wanting, tmp_path / "here", Console(quiet=True))
    run_sweep(wanting, tmp_path / "there", Console(quiet=True), address="auto")
    assert without_ray == [["reach"]]


def test_the_command_plans_tasks_methods_seeds_and_budgets(tmp_path, monkeypatch):
    planned: list[tuple[Sequence[Trial], Share]] = []

    def run(trials, out, console, share, address, any_version, typed):
        planned.append((trials, share))
        return Ended(0, 0)

    monkeypatch.setattr(sweep, "run_sweep", run)
    common = ["--tasks", "touch_cube", "--methods", "random", "rlpd10", "--out", str(tmp_path)]
    assert CliRunner().invoke(app, [*common, "--seeds", "2", "--first-seed", "7"]).exit_code == 0
    shares = ["--cpus-per-trial", "0.5", "--gpus-per-trial", "0.25", "--steps", "70"]
    overrides = ["--set", "training.gamma=0.9", "env.reward=dense"]
    assert CliRunner().invoke(app, [*common, *shares, *overrides]).exit_code == 0
    (first, _), (second, share) = planned
    assert [trial.name for trial in first] == [
        f"touch_cube {method} seed {seed}" for seed in (7, 8) for method in ("random", "rlpd10")
    ]
    assert {trial.settings.stop.steps for trial in first} == {BUDGETS["touch_cube"]}
    settings = second[0].settings
    assert (len(second), share, settings.stop.steps) == (10, Share(0.5, 0.25), 70)
    assert (settings.training.gamma, settings.env["reward"]) == (0.9, "dense")
    assert settings.resources.num_gpus_per_learner == 0.25
