"""The serial ports of this machine, and which of them may have an arm."""

from __future__ import annotations

import os
from pathlib import Path

from serial.tools import list_ports

from e2hil_rllib.commands.doctor.findings import Finding, Level

PERMISSION_STEP = "sudo usermod -aG dialout $USER, then log in again"

_FEETECH_BOARD = 0x1A86  # USB vendor of the serial chip on Feetech's and Waveshare's boards


def find_ports() -> list[Finding]:
    """Lists the serial ports, those that look like a servo board first."""
    ports = sorted(list_ports.comports(), key=lambda p: (p.vid != _FEETECH_BOARD, p.device))
    findings = []
    for port in ports:
        board = port.vid == _FEETECH_BOARD
        level = Level.OK if board else Level.NOTE
        what = f"{port.description}, {'looks like a' if board else 'not a known'} servo board"
        step = f"try e2hil doctor --port {port.device}" if port.vid else ""
        if Path(port.device).exists() and not os.access(port.device, os.R_OK | os.W_OK):
            level, what = Level.FAULT, f"{what}, which may not be opened"
            step = PERMISSION_STEP
        findings.append(Finding(port.device, level, what, step))
    if not any(port.vid for port in ports):
        step = "plug in the arm's USB cable and its power supply; without an arm: e2hil virtual"
        findings.append(Finding("USB", Level.FAULT, "there is no serial port on USB", step))
    return findings
