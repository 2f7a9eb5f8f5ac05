"""Table of a screening: a row for each evaluation, and the factor of a run."""

import csv

from typer.testing import CliRunner

from e2hil_rllib.run.evaluation_log import EvaluatedEpisode, write_evaluations
from e2hil_rllib.run.progress import STEP, write_rows
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.run_settings import Settings
from tune_scripts.compare import screening


def write_run(root, seed, **sections):
    run = RunFolder(root)
    values = {
        "task": "envs:SO101PickCube-v0",
        "seed": seed,
        "stop": {"steps": 200},
        "env": {"operator": {"patience": 1.5}},
    }
    root.mkdir(parents=True)
    run.write_settings(Settings.model_validate(values | sections))
    human = "num_human_steps_lifetime"
    write_rows(run.progress, [{STEP: s, human: s / 4, "num_takeovers_lifetime": s / 20}
                              for s in (100, 200)])  # fmt: skip
    write_evaluations(
        run.evaluation,
        [EvaluatedEpisode(s, e, e < s / 100, 9, 1.0) for s in (100, 200) for e in range(4)],
    )
    return root


def test_each_evaluation_is_a_row_named_by_what_the_run_differs_in(tmp_path, monkeypatch):
    monkeypatch.setattr(screening, "PUBLISHED", tmp_path / "results")
    runs = [
        write_run(tmp_path / "a", 100),
        write_run(tmp_path / "b", 101, training={"n_step": 3}, preset="hil_serl"),
    ]
    done = CliRunner().invoke(screening.app, [str(run) for run in runs])
    assert done.exit_code == 0, done.output
    with (tmp_path / "results" / "screening" / "screening.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["factor"], row["seed"], row["step"], row["success_alone"]) for row in rows] == [
        ("default", "100", "100", "0.25"),
        ("default", "100", "200", "0.50"),
        ("preset=hil_serl training.n_step=3", "101", "100", "0.25"),
        ("preset=hil_serl training.n_step=3", "101", "200", "0.50"),
    ]
    assert (rows[1]["human_steps"], rows[1]["takeovers"]) == ("50", "10")


def test_a_run_without_evaluation_is_named(tmp_path):
    run = write_run(tmp_path / "a", 100)
    (run / "evaluation.csv").unlink()
    done = CliRunner().invoke(screening.app, [str(run)])
    assert done.exit_code == 2
    assert "has no evaluation" in done.output.replace("\n", " ")
