"""Tables of tune_scripts/results/README.md, and that they are those of the published results."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from e2hil_rllib.report.comparison.comparison_report import markdown_table
from tests.report.comparisons import result, write_results
from tune_scripts.publish import readme_table
from tune_scripts.publish.readme_table import ReadmeError, app, with_tables, without_table

START, END = "<!-- results: {} -->\n", "<!-- end of results -->"
README = f"# A\n\n{START.format('touch')}old\n{END}\n\nmore\n{START.format('pick')}{END}\nend\n"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Results of two tasks."""
    for name, task in (("touch", "touch_cube"), ("pick", "pick_cube")):
        rows = [result(m, s, 0.5, task=task) for m in ("e2hil", "hil_serl") for s in range(5)]
        write_results(tmp_path / "results" / name, rows)
    return tmp_path / "results"


@pytest.fixture
def repository(published: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    readme = published / "README.md"
    readme.write_text(README)
    monkeypatch.setattr(readme_table, "README", readme)
    monkeypatch.setattr(readme_table, "PUBLISHED", published)
    return readme


def test_the_results_of_this_repository_say_what_was_published() -> None:
    done = CliRunner().invoke(app, ["--check"])
    assert done.exit_code == 0, done.output


def test_a_table_is_that_of_the_report_and_the_rest_of_the_text_stays(published: Path) -> None:
    text = with_tables(README, published)
    assert text.startswith(
        f"# A\n\n{START.format('touch')}\n{markdown_table([published / 'touch'])}"
    )
    assert f"\n{END}\n\nmore\n{START.format('pick')}\n| task |" in text and text.endswith("\nend\n")
    assert text.count("Interquartile mean") == 1 and "old" not in text
    assert "| pick_cube | e2hil | 5 |" in text and str(published) not in text
    assert with_tables(text, published) == text


def test_a_row_that_is_left_out_is_named_without_the_path_of_this_machine(published: Path) -> None:
    write_results(published / "touch", [result("e2hil", 0), result("e2hil", 1, 2.0)])
    text = with_tables(README, published)
    assert "\nresults.csv, line 3: the row is left out" in text and str(published) not in text


def test_the_command_writes_and_its_check_does_not(repository: Path) -> None:
    done = CliRunner().invoke(app, ["--check"])
    assert done.exit_code == 1 and "is not that of its results.csv" in done.output
    assert repository.read_text() == README
    assert CliRunner().invoke(app, []).exit_code == 0
    assert "| touch_cube | e2hil | 5 |" in repository.read_text()
    assert CliRunner().invoke(app, ["--check"]).exit_code == 0
    results = repository.parent / "pick" / "results.csv"
    results.write_text(results.read_text().replace(",0.3,", ",0.4,"))
    assert CliRunner().invoke(app, ["--check"]).exit_code == 1


def test_published_results_without_a_table_say_so(published: Path, repository: Path) -> None:
    assert without_table(README, published) == []
    assert without_table("", published.parent / "none") == []
    third = published / "third"
    write_results(third, [result("e2hil", 0)])
    CliRunner().invoke(app, [])
    assert without_table(README, published) == ["third"]
    for about, status in (("no table: no\n", 1), ("# Third\n\ntable: no\n", 0)):
        (third / "ABOUT.md").write_text(about)
        done = CliRunner().invoke(app, ["--check"])
        assert done.exit_code == status
        assert ("results/third is in no table" in done.output) == bool(status)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (START.format("touch"), "results: touch --> has no"),
        (START.format("touch") + START.format("pick") + END, "results: touch --> has no"),
        (END, "without a"),
        (START.format("tuoch") + END, "'tuoch', which are not published.*pick, touch"),
        (START.format("") + END, "'', which are not published"),
    ],
)
def test_markers_that_make_no_sense_are_refused(published: Path, text: str, message: str) -> None:
    with pytest.raises(ReadmeError, match=message):
        with_tables(f"a\n{text}\n", published)
