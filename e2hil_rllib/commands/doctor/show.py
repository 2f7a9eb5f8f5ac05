"""Examines what was asked for, and prints the findings as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from e2hil_rllib.commands.doctor.arm import examine
from e2hil_rllib.commands.doctor.camera_devices import find_cameras
from e2hil_rllib.commands.doctor.camera_source import CameraSource
from e2hil_rllib.commands.doctor.cameras import examine_cameras
from e2hil_rllib.commands.doctor.findings import Finding, Level
from e2hil_rllib.commands.doctor.ports import find_ports
from e2hil_rllib.commands.doctor.robot import described_robot
from e2hil_rllib.settings.run_settings import Settings

_WIDE = 120  # columns of a terminal from which on the next step has a column of its own
_WHERE = 24  # columns at most for where it was found
_STYLES = {Level.OK: "green", Level.NOTE: "yellow", Level.FAULT: "bold red"}


def show_doctor(
    port: str | None, calibration: Path | None, cameras: Sequence[str], console: Console
) -> bool:
    """`e2hil doctor`: prints what there is to say, and returns whether all is well.

    Args:
        port: the arm's; None for no arm. With no cameras either, both are looked for.
        calibration: the arm's file, to compare with; None for none.
        cameras: to examine, as `CameraSource.parse` takes them.
        console: where to print.

    Raises:
        CameraSourceError: a camera is described wrongly.
    """
    sources = [CameraSource.parse(text) for text in dict.fromkeys(cameras)]
    if port is None and not sources:
        return _show("serial ports and cameras", [*find_ports(), *find_cameras()], console)
    well = True
    if port is not None:
        well &= _show(f"SO101 on {port}", examine(port, calibration), console)
    if sources:
        well &= _show("cameras", examine_cameras(sources), console)
    return well


def show_robot(settings: Settings, console: Console) -> bool:
    """`e2hil doctor CONFIG`: the same for all that a settings file of a physical robot names.

    Raises:
        RobotSettingsError: it names no arm, or describes one wrongly.
    """
    arms, sources = described_robot(settings)
    well = True
    for name, port, calibration in arms:
        well &= _show(f"{name} on {port}", examine(port, calibration), console)
    if sources:
        well &= _show("cameras", examine_cameras(sources), console)
    return well


def _show(title: str, findings: Sequence[Finding], console: Console) -> bool:
    """Prints a table, and returns whether it is free of faults."""
    wide = console.width >= _WIDE
    table = Table(title=title, title_justify="left", show_lines=not wide)
    table.add_column("", overflow="fold", max_width=None if wide else _WHERE)
    table.add_column("", no_wrap=True)
    table.add_column("found" if wide else "found → next step", overflow="fold")
    if wide:
        table.add_column("next step", overflow="fold")
    for finding in findings:
        level = Text(finding.level, style=_STYLES[finding.level])
        what, step = Text(finding.what), Text(finding.step)
        if wide:
            table.add_row(Text(finding.where), level, what, step)
        else:
            below = Text("\n→ ").append_text(step) if finding.step else Text()
            table.add_row(Text(finding.where), level, what.append_text(below))
    console.print(table)
    return all(finding.level is not Level.FAULT for finding in findings)
