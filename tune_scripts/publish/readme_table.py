"""Writes the tables of results/README.md from the `results.csv` of published results alone.

    python -m tune_scripts.publish.readme_table [--check]

A table stands between the lines `<!-- results: NAME -->` and `<!-- end of results -->`; NAME is a
folder in tune_scripts/results. Each such folder has a table, or `table: no` in its ABOUT.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from e2hil_rllib.commands.cli.common import Debug, console, errors, user_errors
from e2hil_rllib.disk.files import swapped_in
from e2hil_rllib.errors import UserError
from e2hil_rllib.report.comparison.method_table import as_markdown, method_rows, warnings
from e2hil_rllib.report.comparison.trials import RESULTS, read_comparison
from tune_scripts.publish.command import ABOUT, NO_TABLE

PUBLISHED = Path(__file__).resolve().parents[1] / "results"
README = PUBLISHED / "README.md"

_START = re.compile(r"^<!-- results: *(.*?) *-->\n", re.MULTILINE)
_END = re.compile(r"^<!-- end of results -->$", re.MULTILINE)


class ReadmeError(UserError):
    """Markers of results/README.md that make no sense; the message says what to do."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit status 1 if a table is not right."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Write the tables of published results into tune_scripts/results/README.md."""
    with user_errors(debug):
        text = README.read_text(encoding="utf-8")
        wanted = with_tables(text, PUBLISHED)
        wrong = [
            f"{PUBLISHED.name}/{name} is in no table: add the lines '<!-- results: {name} -->' and "
            f"'<!-- end of results -->' to {_where()}, or '{NO_TABLE}' to its {ABOUT}."
            for name in without_table(text, PUBLISHED)
        ]
        if check and text != wanted:
            wrong.append(
                f"A table of {_where()} is not that of its {RESULTS}. Run python -m "
                "tune_scripts.publish.readme_table."
            )
        elif text != wanted:
            with swapped_in(README) as temporary:
                temporary.write_text(wanted, encoding="utf-8")
            console.print(f"Written: {_where()}")
        for message in wrong:
            errors.print(message, style="bold red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1 if wrong else 0)


def with_tables(text: str, published: Path) -> str:
    """A README whose tables are those of the published results; the first one is explained.

    Args:
        text: The README with its markers.
        published: Folder of published results.

    Raises:
        ReadmeError: A marker has no partner, or names what is not published.
        ComparisonError: A `results.csv` has no row that can be read.
    """
    parts, at = [], 0
    while start := _START.search(text, at):
        end, following = _END.search(text, start.end()), _START.search(text, start.end())
        if end is None or (following is not None and following.start() < end.start()):
            raise ReadmeError(
                f"The marker {start[0].strip()} has no '<!-- end of results -->' behind it. Add it "
                "on a line of its own."
            )
        parts += [text[at : start.end()], _table(start[1], published, explained=at == 0)]
        at = end.start()
    if len(_END.findall(text)) != len(_START.findall(text)):
        raise ReadmeError(
            "There is a '<!-- end of results -->' without a '<!-- results: NAME -->' before it. "
            "Remove it, or add the other one on a line of its own."
        )
    return "".join([*parts, text[at:]])


def without_table(text: str, published: Path) -> list[str]:
    """Published results that no marker names, and that do not say that they have no table.

    Args:
        text: The README with its markers.
        published: Folder of published results; there may be none.
    """
    named = set(_START.findall(text))
    return [
        path.parent.name
        for path in sorted(published.glob(f"*/{RESULTS}"))
        if path.parent.name not in named and not _says_no_table(path.with_name(ABOUT))
    ]


def _where() -> str:
    return f"{README.parent.name}/{README.name}"


def _says_no_table(about: Path) -> bool:
    return about.exists() and NO_TABLE in about.read_text(encoding="utf-8").splitlines()


def _table(name: str, published: Path, explained: bool) -> str:
    """From an empty line to the next one, so that Markdown takes it for a table."""
    folder = published / name
    if not name or not (folder / RESULTS).is_file():
        known = ", ".join(path.parent.name for path in sorted(published.glob(f"*/{RESULTS}")))
        raise ReadmeError(
            f"{_where()} has a marker for the results {name!r}, which are not published. Those "
            f"that are: {known or 'none'}. Correct the marker, or publish them by "
            f"python -m tune_scripts.publish DIR --name {name or 'NAME'}."
        )
    comparison = read_comparison([folder])
    # What has a path in it is as long as the path of this checkout.
    notes = [n.replace(f"{folder}/", "") for n in (*warnings(comparison), *comparison.notes)]
    return f"\n{as_markdown(method_rows(comparison), notes, explained)}\n"


if __name__ == "__main__":
    app()
