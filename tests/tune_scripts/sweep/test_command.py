"""A whole sweep: killed and resumed, with a trial that fails, and its refusals."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from e2hil_rllib.run.progress import STEP, read_rows
from e2hil_rllib.run.run_folder import RunFolder
from tests.tune_scripts.reach import write_task
from tests.tune_scripts.selection import evaluated_run
from tune_scripts.cluster import ONE_CPU, ray_running
from tune_scripts.compare.plan import PlanError, load_task
from tune_scripts.session import Ended
from tune_scripts.sweep.command import app
from tune_scripts.sweep.results import read_trials
from tune_scripts.sweep.run import SelectionSweep, run_selection_sweep
from tune_scripts.sweep.search import Points
from tune_scripts.sweep.space import paper_values
from tune_scripts.sweep.trial import BUDGET, HUMAN_STEPS_SPENT, PRUNED, Goal, run_dir

ROOT = Path(__file__).parents[3]
GOAL = Goal(steps=60, human_steps=40, slice=40)
# The person leads 3 steps of each episode, which takes 6 to 20: up to 10 steps of the first slice,
# and 12 to 40 of four. So a trial comes to the rung of 12 after its first evaluation.
PRUNING_GOAL = Goal(steps=100, human_steps=36, slice=20)


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A folder with one task, on which a trial trains for some seconds and never succeeds alone."""
    folder = tmp_path / "configs"
    write_task(
        folder, "reach", env={"human_every": 1}, evaluation_env={"limit": 1},
        demonstrations={"record": 2}, human_in_the_loop={},
    )  # fmt: skip
    return folder


def sweep_of(configs: Path, samples: int = 3, goal: Goal = GOAL) -> SelectionSweep:
    return SelectionSweep("reach", load_task(configs, "reach", []), goal, samples, seed=0)


def run(sweep: SelectionSweep, out: Path) -> tuple[Ended, str]:
    """Run a sweep in this process; return its end and its output."""
    said = io.StringIO()
    ended = run_selection_sweep(sweep, out, Console(file=said, width=200))
    return ended, " ".join(said.getvalue().split())


def kill_in_the_middle(arguments: list[str], reference: RunFolder, patience: float = 90.0) -> None:
    """Run a sweep and kill it once its first trial has a checkpoint after a row of progress."""
    module = [sys.executable, "-m", "tune_scripts.sweep"]
    process = subprocess.Popen([*module, *arguments], cwd=ROOT)
    end = time.monotonic() + patience
    try:
        while not any(path.name[-9:] >= "000000020" for path in reference.checkpoints().all()):
            assert process.poll() is None, "the sweep ended before it could be killed"
            assert time.monotonic() < end, "no checkpoint was written"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A sweep whose trial 1 has ended, with success from the start, and whose trial 2 cannot run.

    Trial 2 would be worse than trial 1 at its first rung.
    """
    out = tmp_path / "out"
    points = Points(out / "points.json")
    points.append(paper_values() | {"training.utd_ratio": 1})
    evaluated_run(out / run_dir(1), [(40, 0, (True,)), (100, 0, (True,))], checkpoint=100)
    (out / run_dir(2)).mkdir(parents=True)
    (out / run_dir(2) / "notes.txt").write_text("somebody's")
    return out


@pytest.fixture
def one_ray() -> Iterator[None]:
    """Ray for all sweeps of this process; it takes seconds to start."""
    with ray_running(None, ONE_CPU):
        yield


@pytest.mark.slow
def test_a_killed_sweep_resumes_with_its_points_and_a_failed_trial_stops_no_other(
    begun, configs, request
):
    out, reference = begun, RunFolder(begun / run_dir(0))
    arguments = ["--task", "reach", "--configs", str(configs), "--out", str(out), "--samples", "3"]
    arguments += ["--steps", "100", "--human-steps", "36", "--slice", "20"]
    kill_in_the_middle(arguments, reference)
    proposed = json.loads((out / "points.json").read_text())
    assert proposed[0] == paper_values() and len(proposed) in (2, 3)
    assert [trial.number for trial in read_trials(out)] == [1]
    began = [row[STEP] for row in read_rows(reference.progress)]

    request.getfixturevalue("one_ray")  # not beside that of the process to be killed
    ended, said = run(sweep_of(configs, goal=PRUNING_GOAL), out)

    assert (ended, ended.exit_status) == (Ended(open=1, failed=1), 1)
    paper, whole = read_trials(out)
    assert (paper.number, paper.values, paper.steps >= 100) == (0, paper_values(), True)
    assert paper.ended in (BUDGET, HUMAN_STEPS_SPENT)
    assert (whole.number, whole.values, whole.objective) == (1, proposed[1], 1.0)
    points = json.loads((out / "points.json").read_text())
    assert points[: len(proposed)] == proposed and len(points) == 3
    steps = [row[STEP] for row in read_rows(reference.progress)]
    assert steps == sorted(set(steps)) and steps[0] == began[0]
    assert "Going on from" in (out / f"{run_dir(0)}.log").read_text()
    with (out / "errors.csv").open() as file:
        *_, failed = csv.DictReader(file)
    assert (failed["number"], failed["run_dir"]) == ("2", "trials/trial_002")
    assert "holds files, but no run" in failed["error"]
    assert "failed: trial 2:" in said and "[3/3]" in said
    assert "1 trials are open; the same command resumes them." in said

    (out / run_dir(2) / "notes.txt").unlink()
    table, worked_on = (out / "trials.csv").read_text(), reference.progress.stat().st_mtime_ns
    ended, said = run(sweep_of(configs, goal=PRUNING_GOAL), out)

    assert (ended, ended.exit_status) == (Ended(open=0, failed=0), 0)
    assert (out / "trials.csv").read_text().startswith(table)
    pruned = read_trials(out)[2]
    assert (pruned.ended, pruned.values, pruned.steps < 100) == (PRUNED, points[2], True)
    assert "2 of 3 trials are in" in said
    assert "The best by mean success over 36 human steps" in said
    assert reference.progress.stat().st_mtime_ns == worked_on
    assert (out / "sweep.png").exists() and not reference.report.exists()
    assert json.loads((out / "points.json").read_text()) == points


def test_a_trial_that_ended_before_the_kill_gets_its_row_and_is_not_run(tmp_path, configs):
    Points(tmp_path / "points.json")
    evaluated_run(tmp_path / run_dir(0), [(40, 20, (True,)), (60, 20, (True,))], checkpoint=60)
    ended, said = run(sweep_of(configs, samples=1), tmp_path)
    assert ended.exit_status == 0
    (trial,) = read_trials(tmp_path)
    assert (trial.ended, trial.objective, trial.steps) == (BUDGET, 0.5, 60)
    assert "1 of 1 trials are in" in said
    assert not (tmp_path / "demonstrations").exists()


def test_a_folder_belongs_to_one_sweep_but_may_get_more_samples(tmp_path, configs):
    (tmp_path / "sweep.json").write_text(json.dumps(sweep_of(configs).identity()))
    evaluated_run(tmp_path / run_dir(0), [(60, 20, (True,))], checkpoint=60)
    Points(tmp_path / "points.json")
    assert run(sweep_of(configs, samples=1), tmp_path)[0].exit_status == 0
    with pytest.raises(PlanError, match=r"begun with other values of human_steps\. Name another"):
        run(sweep_of(configs, goal=Goal(60, 41, 40)), tmp_path)
    write_task(
        configs, "reach", env={"human_every": 2}, evaluation_env={"limit": 1},
        demonstrations={"record": 2},
    )  # fmt: skip
    with pytest.raises(PlanError, match="other values of env, human_in_the_loop"):
        run(
            SelectionSweep(
                "reach",
                load_task(configs, "reach", ["human_in_the_loop.interventions=false"]),
                GOAL,
                samples=3,
                seed=0,
            ),
            tmp_path,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "raech"], "There is no task 'raech'"),
        (["--seed", "3"], "Give --human-steps for reach"),
        (["--set", "training.utd_ratio=4"], "training.utd_ratio: the sweep searches it"),
        (["--set", "env.limit=9", "seed=3"], "seed: the sweep sets it"),
        (["--set", "entropy_selection.enabled=false"], "enabled: the sweep sets it"),
        (["--set", "stop.autonomous_success_rate=0.9"], "Add --set stop.autonomous_success_rate="),
    ],
)
def test_invalid_sweeps_are_refused_before_anything_begins(tmp_path, configs, arguments, message):
    common = ["--task", "reach", "--configs", str(configs), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*common, *arguments])
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_without_optuna_it_says_what_to_install(tmp_path, configs):
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from tune_scripts.sweep.command import app; app()"
    )
    arguments = ["--task", "reach", "--configs", str(configs), "--out", str(tmp_path / "out")]
    arguments += ["--human-steps", "9"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "pip install 'optuna>=4'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_options_become_a_sweep(tmp_path, configs, monkeypatch):
    from tune_scripts.sweep import run as selection_sweep

    asked: list[SelectionSweep] = []
    at_once: list[int] = []

    def note(sweep, out, console, share, address, concurrent):
        asked.append(sweep)
        at_once.append(concurrent)
        return Ended(2, 0)

    monkeypatch.setattr(selection_sweep, "run_selection_sweep", note)
    out = ["--out", str(tmp_path / "out")]
    reach = ["--task", "reach", "--configs", str(configs), *out]
    more = ["--steps", "100", "--slice", "50", "--seed", "4", "--samples", "7"]
    assert CliRunner().invoke(app, [*reach, "--human-steps", "15"]).exit_code == 130
    CliRunner().invoke(app, [*reach, *more, "--human-steps", "30", "--gpus-per-trial", "0.5"])
    CliRunner().invoke(app, ["--task", "touch_cube", "--concurrent", "9", *out])
    first, second, third = asked
    assert (first.goal, first.samples, first.seed) == (Goal(60, 15, 500), 20, 0)
    assert (second.goal, second.samples, second.seed) == (Goal(100, 30, 50), 7, 4)
    assert second.paper.settings.seed == 4 and second.paper.settings.stop.steps == 100
    assert second.paper.settings.resources.num_gpus_per_learner == 0.5
    assert third.goal == Goal(4000, 1000, 500)
    assert at_once == [4, 4, 9]
