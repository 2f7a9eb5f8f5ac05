"""`e2hil report`: of one run, of comparisons, and what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.commands.compare import reach_of
from e2hil_rllib.settings.run_settings import Settings
from tests.report.comparisons import result, write_results, write_run


def e2hil(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_report_of_one_run_is_as_it_was(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "e2hil", 0, minibatches=1)
    outcome = e2hil("report", run.root)
    assert outcome.exit_code == 0, outcome.output
    assert (run.report / "index.html").exists()


def test_comparisons_are_written_beside_the_first_or_where_it_is_said(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write_results(one, [result("e2hil", 0)])
    write_results(other, [result("hil_serl", 0)])
    outcome = e2hil("report", "--compare", one, other)
    assert outcome.exit_code == 0, outcome.output
    text = (one / "report" / "index.html").read_text()
    assert "2 finished trials of one, other" in text and not (other / "report").exists()
    assert "fewer than 5 seeds" in outcome.output
    outcome = e2hil("report", "--compare", one, "--out", tmp_path / "out")
    assert outcome.exit_code == 0 and (tmp_path / "out" / "comparison.csv").exists()


def test_the_table_is_printed_whole(tmp_path: Path) -> None:
    write_results(tmp_path, [result("e2hil", 0), result("hil_serl", 0)])
    outcome = e2hil("report", "--compare", tmp_path, "--markdown")
    assert outcome.exit_code == 0 and not (tmp_path / "report").exists()
    lines = outcome.stdout.splitlines()
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines[:4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "{run}"], "A report is of one run, 2 are named"),
        (["{run}", "--markdown"], "--markdown goes with --compare"),
        (["{run}", "--out", "x"], "--out goes with --compare"),
        (["--compare", "{run}"], "is not the folder of a comparison"),
    ],
)
def test_what_does_not_go_together_is_one_message(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    outcome = e2hil("report", *(argument.format(run=tmp_path) for argument in arguments))
    assert outcome.exit_code == 2 and message in outcome.stderr
    assert not list(tmp_path.iterdir())


def test_the_workspace_is_that_of_the_run() -> None:
    values = {"task": "envs:SO101TouchCube-v0", "stop": {"steps": 1}, "env": {}}
    reach = reach_of(Settings.model_validate(values))
    assert reach is not None and reach.box == (0.14, -0.15, 0.30, 0.15)
    values["env"] = {"workspace": {"x": [0.18, 0.40]}}
    reach = reach_of(Settings.model_validate(values))
    assert reach is not None and reach.box == (0.18, -0.15, 0.40, 0.15)
    assert reach_of(Settings.model_validate(values | {"task": "Pendulum-v1", "env": {}})) is None
