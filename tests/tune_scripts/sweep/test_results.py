"""Tables and figure of a sweep."""

from __future__ import annotations

import dataclasses
import io

import pytest
from PIL import Image
from rich.console import Console

from tests.tune_scripts.selection import ended_trial
from tune_scripts.compare.results import TableError
from tune_scripts.sweep.figure import draw_sweep, sweep_figure
from tune_scripts.sweep.results import (
    EndedTrial,
    append_trial,
    best_first,
    best_table,
    read_trials,
)
from tune_scripts.sweep.space import SEARCHED, paper_values
from tune_scripts.sweep.trial import BUDGET, PRUNED, Standing


def test_every_searched_setting_has_a_column():
    names = {field.name for field in dataclasses.fields(EndedTrial)}
    assert {searched.name for searched in SEARCHED} <= names
    assert ended_trial().values == paper_values()


def test_trials_are_read_back_as_they_were_by_their_number(tmp_path):
    assert read_trials(tmp_path) == []
    trials = [ended_trial(2, ended=PRUNED), ended_trial(0, initial_alpha=0.1 + 0.2)]
    for trial in trials:
        append_trial(tmp_path, trial)
    assert read_trials(tmp_path) == trials[::-1]
    header, *_ = (tmp_path / "trials.csv").read_text().splitlines()
    assert header == (
        "number,upper_percentile,lower_percentile,num_action_samples,utd_ratio,initial_alpha,"
        "demonstration_fraction,steps,human_steps,success_rate,objective,ended,code_version,run_dir"
    )


def test_a_row_holds_the_progress_of_a_trial():
    standing = Standing(1000, 30, 0.5, 0.25, [(10, 0.0)], "")
    values = paper_values() | {"training.utd_ratio": 5}
    trial = EndedTrial.of(3, values, standing, "abc", "trials/trial_003")
    assert (trial.number, trial.values, trial.steps, trial.human_steps) == (3, values, 1000, 30)
    assert (trial.success_rate, trial.objective, trial.ended) == (0.5, 0.25, PRUNED)
    done = EndedTrial.of(3, values, dataclasses.replace(standing, ended=BUDGET), "abc", "x")
    assert (done.ended, done.pruned, trial.pruned) == (BUDGET, False, True)


@pytest.mark.parametrize(("old", "new"), [("4000", "many"), ("\n1,", "\n0,")])
def test_a_damaged_table_is_refused_with_its_line(tmp_path, old, new):
    for number in range(2):
        append_trial(tmp_path, ended_trial(number))
    path = tmp_path / "trials.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(TableError, match=r"trials\.csv, line [23]: .*Remove the line"):
        read_trials(tmp_path)


def sweep_of_nine() -> list[EndedTrial]:
    better = [ended_trial(n, objective=0.4 + n / 20) for n in range(1, 8)]
    return [ended_trial(0, objective=0.4), *better, ended_trial(8, ended=PRUNED, objective=0.99)]


def test_the_table_shows_the_best_five_next_to_the_paper_without_pruned_trials():
    trials = sweep_of_nine()
    assert [trial.number for trial in best_first(trials)] == [7, 6, 5, 4, 3, 2, 1, 0]
    frugal = ended_trial(9, objective=0.75, human_steps=1)
    assert best_first([*trials, frugal])[0] == frugal  # of equals
    said = io.StringIO()
    Console(width=80, file=said).print(best_table(trials, 900))
    text = said.getvalue()
    assert "The best by mean success over 900 human steps" in text
    header, *rows = [
        [cell.strip() for cell in line.replace("┃", "│").split("│")[1:-1]]
        for line in text.splitlines()
        if "│" in line or "┃" in line
    ]
    assert header == ["trial", "paper", "7", "6", "5", "4", "3"]
    assert rows[0] == ["objective", "0.400", "0.750", "0.700", "0.650", "0.600", "0.550"]
    assert rows[-1] == ["demonstration fraction", *["0.5"] * 6]


def test_the_paper_among_the_best_is_shown_once():
    columns = best_table([ended_trial(0), ended_trial(1, objective=0.1)], 900).columns
    assert [column.header for column in columns] == ["trial", "paper", "1"]


def test_the_picture_has_a_panel_for_each_setting_with_the_paper_marked(tmp_path):
    draw_sweep(sweep_of_nine(), 900, tmp_path / "sweep.png")
    with Image.open(tmp_path / "sweep.png") as picture:
        assert picture.size[0] > 800
    panels = sweep_figure(sweep_of_nine(), 900).axes
    assert [panel.get_title(loc="left") for panel in panels] == [
        searched.name.replace("_", " ") for searched in SEARCHED
    ]
    for panel, searched in zip(panels, SEARCHED, strict=True):
        points = {c.get_label(): c.get_offsets().tolist() for c in panel.collections}
        assert points["the paper's values"] == [[searched.paper, 0.4]]
        assert len(points["trial"]) == 7 and len(points["pruned, up to then"]) == 1
        low, high = panel.get_xlim()
        assert low < searched.low and searched.high < high
