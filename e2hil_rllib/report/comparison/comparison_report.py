"""Report of comparisons: tables, figures and one page with all of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2hil_rllib.disk.files import swapped_in, writing
from e2hil_rllib.report.comparison.comparison_figures import Figures
from e2hil_rllib.report.comparison.method_table import (
    EXPLANATION,
    as_markdown,
    as_numbers,
    as_table,
    method_rows,
    warnings,
)
from e2hil_rllib.report.comparison.trials import Comparison, read_comparison
from e2hil_rllib.report.page import Page, Table
from e2hil_rllib.report.run.workspace_map import Reach
from e2hil_rllib.settings.run_settings import Settings

TABLE = "comparison.csv"
SOURCES = "influence_by_source.csv"


@dataclass(frozen=True)
class WrittenComparison:
    """Report on disk.

    Attributes:
        page: Path of ``index.html``.
        notes: Caveats for the reader, which are also on the page.
    """

    page: Path
    notes: Sequence[str]


def markdown_table(folders: Sequence[Path]) -> str:
    """Return Table I as Markdown, from the ``results.csv`` of one or more comparisons alone.

    Raises:
        ComparisonError: There are no results, or they cannot be pooled.
    """
    comparison = read_comparison(folders)
    notes = [*warnings(comparison), *comparison.notes]
    return as_markdown(method_rows(comparison), notes)


def write_comparison(
    folders: Sequence[Path], out: Path, reach_of: Callable[[Settings], Reach | None]
) -> WrittenComparison:
    """Write ``comparison.csv``, ``influence_by_source.csv``, the figures and ``index.html``.

    Args:
        folders: Folders of comparisons, pooled.
        out: Folder to write; figures of an earlier report are replaced.
        reach_of: Function from a run's settings to its arm's reach; None where it is unknown.

    Raises:
        ComparisonError: There are no results, or they cannot be pooled.
        WriteError: The disk is full, or the folder cannot be written to.
    """
    comparison = read_comparison(folders)
    notes = [*warnings(comparison), *comparison.notes]
    page = Page("Comparison of methods", _about(comparison, folders))
    for note in notes:
        page.paragraph(note)
    write_tables_and_figures(comparison, page, out, reach_of)
    target = out / "index.html"
    with swapped_in(target) as temporary:
        temporary.write_text(page.to_html(), encoding="utf-8")
    return WrittenComparison(target, notes)


def write_tables_and_figures(
    comparison: Comparison, page: Page, out: Path, reach_of: Callable[[Settings], Reach | None]
) -> None:
    """Write ``comparison.csv``, ``influence_by_source.csv`` and figures, and add them to a page.

    Args:
        comparison: Trials to report.
        page: Page that gets tables and figures, and a line for missing data.
        out: Folder to write; the files of an earlier report are replaced.
        reach_of: Function from a run's settings to its arm's reach; None where it is unknown.

    Raises:
        WriteError: The disk is full, or the folder cannot be written to.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for old in (*out.glob("fig*.png"), out / SOURCES):
            old.unlink(missing_ok=True)
    rows = method_rows(comparison)
    page.heading("Table I: success and human cost")
    page.table(*as_table(rows))
    page.paragraph(EXPLANATION)
    _write_csv(out / TABLE, as_numbers(rows))
    figures = Figures(comparison, page, out, reach_of)
    figures.add_curves()
    figures.add_predictions()
    if sources := figures.add_sources():
        _write_csv(out / SOURCES, sources)
    figures.add_places()


def _about(comparison: Comparison, folders: Sequence[Path]) -> str:
    versions = ", ".join(sorted({trial.code_version for trial in comparison.trials}))
    episodes = sorted({trial.evaluation_episodes for trial in comparison.trials})
    steps = "; ".join(
        f"{task}: {max(t.steps for t in comparison.trials if t.task == task)} steps"
        for task in comparison.tasks
    )
    return (
        f"{len(comparison.trials)} finished trials of {', '.join(f.name for f in folders)}. "
        f"{steps}. Evaluated episodes: {', '.join(map(str, episodes))}. Code: {versions}."
    )


def _write_csv(path: Path, table: Table) -> None:
    head, rows = table
    with swapped_in(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
