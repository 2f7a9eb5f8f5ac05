"""The commands of a comparison, as they are kept."""

from __future__ import annotations

import csv
import socket
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from tune_scripts.code_version import code_version
from tune_scripts.commands import COMMANDS, command_line, note_command, without_machine
from tune_scripts.compare import run as sweep
from tune_scripts.compare.command import app
from tune_scripts.compare.run import Ended


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["--out", "/data/somebody/runs/touch"], "--out touch"),
        (["--out=runs/touch"], "--out=touch"),
        (["--tasks", "a", "b", "--seeds", "5"], "--tasks a b --seeds 5"),
        (["--set", "demonstrations.path=/data/demos/a"], "--set demonstrations.path=a"),
        (["--configs", "/home/somebody/configs"], "--configs configs"),
        (["--configs", "../configs/ours"], "--configs ../configs/ours"),
        (["--set", "env={operator: {skill: 1}}"], "--set 'env={operator: {skill: 1}}'"),
        (["--address", "ray://gpu-17:10001"], "--address ADDRESS"),
        (["--address", "auto"], "--address auto"),
        (["--address=10.0.0.7:6379"], "--address=ADDRESS"),
    ],
)
def test_a_command_is_kept_without_what_is_the_machines(typed: list[str], kept: str) -> None:
    assert command_line("tune_scripts.x", typed) == f"python -m tune_scripts.x {kept}"


def test_a_text_names_no_machine(tmp_path) -> None:
    text = (
        f"{tmp_path}/trials/a/b.csv, line 3: 'x' in /home/me/.venv/lib/ray.py (ip=10.1.2.3) on "
        f"{socket.gethostname()}; see trials/a/b and http://docs.ray.io/en"
    )
    assert without_machine(text, [tmp_path]) == (
        f"{tmp_path.name}/trials/a/b.csv, line 3: 'x' in ray.py (ip=ADDRESS) on HOST; see "
        "trials/a/b and http://docs.ray.io/en"
    )


def test_each_start_of_a_comparison_is_a_row(tmp_path, monkeypatch) -> None:
    def run(trials, out, console, share, address, any_version, typed):
        note_command(out, "tune_scripts.compare", typed)  # as it does: see test_sweep.py
        return Ended(0, 0)

    monkeypatch.setattr(sweep, "run_sweep", run)
    out = tmp_path / "touch"
    arguments = ["--tasks", "touch_cube", "reach", "--out", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 2  # there is no task reach
    assert not out.exists()
    arguments = ["--tasks", "touch_cube", "pick_cube", "--out", str(out), "--set", "env.limit=9"]
    for seeds in ("1", "2"):
        assert CliRunner().invoke(app, [*arguments, "--seeds", seeds]).exit_code == 0
    with (out / COMMANDS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["command"] for row in rows] == [
        "python -m tune_scripts.compare --tasks touch_cube pick_cube --out touch --set "
        f"env.limit=9 --seeds {seeds}"
        for seeds in (1, 2)
    ]
    assert {row["code_version"] for row in rows} == {code_version()}
    ago = datetime.now(UTC) - datetime.fromisoformat(rows[1]["time"])
    assert timedelta(seconds=-2) < ago < timedelta(minutes=5)
