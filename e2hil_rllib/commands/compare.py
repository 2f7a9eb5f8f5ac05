"""`e2hil report --compare`: the report of a comparison, with what the arms of its tasks reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from e2hil_rllib.errors import UserError
from e2hil_rllib.report.comparison.comparison_report import markdown_table, write_comparison
from e2hil_rllib.report.run.workspace_map import Reach
from e2hil_rllib.settings.run_settings import Settings
from envs.workspace import Workspace

# Of the SO101 [m, degrees], whose shoulder turns about x = 0.0388: the TCP's x straight ahead is
# 0.106 to 0.325 at z = 0.015 with the jaws straight down.
_SHOULDER = 0.0388
_STRAIGHT_DOWN = (0.106 - _SHOULDER, 0.325 - _SHOULDER)
_TURN = 110.0


class ReportOptionsError(UserError):
    """Options of `e2hil report` that do not go together; the message says which do."""


def reach_of(settings: Settings) -> Reach | None:
    """The workspace of a run and its arm's reach; None where the task is not one of the SO101's."""
    if not settings.task.startswith("envs:SO101"):
        return None
    box = Workspace.from_options(settings.env.get("workspace") or {})
    corners = (box.x[0], box.y[0], box.x[1], box.y[1])
    return Reach(corners, _SHOULDER, _STRAIGHT_DOWN, _TURN)


def compare(folders: Sequence[Path], out: Path | None, markdown: bool, console: Console) -> None:
    """Writes the report of comparisons, or prints their table.

    Args:
        folders: Of comparisons, pooled.
        out: Folder to write; by default `report/` in the first of them.
        markdown: Print Table I as Markdown, and write nothing.
        console: Where it is said.
    """
    if markdown:
        # As it is: a console would break lines of the table.
        console.file.write(markdown_table(folders))
        return
    written = write_comparison(folders, out or folders[0] / "report", reach_of)
    for note in written.notes:
        console.print(note, highlight=False, markup=False)
    console.print(f"Report: {written.page}", highlight=False, markup=False)


def only_run(paths: Sequence[Path], out: Path | None, markdown: bool) -> Path:
    """The run folder of a report that compares nothing.

    Raises:
        ReportOptionsError: There are several, or an option is one of comparisons.
    """
    if out is not None or markdown:
        option = "--out" if out is not None else "--markdown"
        raise ReportOptionsError(f"{option} goes with --compare: e2hil report --compare DIR …")
    if len(paths) != 1:
        raise ReportOptionsError(
            f"A report is of one run, {len(paths)} are named. Folders of comparisons are pooled "
            "with --compare: e2hil report --compare DIR…"
        )
    return paths[0]
