"""The cameras that are plugged into this machine, and the paths under which they stay found."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from e2hil_rllib.commands.doctor.findings import Finding, Level

_DEV = Path("/dev")
_DRIVERS = Path("/sys/class/video4linux")
_LINKS = {"by-id": "whichever USB port it is in", "by-path": "as long as it is in this USB port"}


@dataclass(frozen=True)
class _Device:
    """A node that pictures come from.

    Attributes:
        node: its path under /dev, which changes when cameras are plugged in anew.
        label: the driver's name of the camera.
        links: paths that stay, by the kind of link.
    """

    node: Path
    label: str
    links: dict[str, Path]


def find_cameras(dev: Path = _DEV, drivers: Path = _DRIVERS) -> list[Finding]:
    """Lists the cameras with the path that belongs into their settings.

    Args:
        dev: where the system's devices are.
        drivers: where the system describes its video devices.
    """
    if sys.platform != "linux":
        step = "try e2hil doctor --camera 0, then 1, and so on"
        return [Finding("cameras", Level.NOTE, "are listed on Linux only", step)]
    devices = _devices(dev, drivers)
    if not devices:
        step = "plug one in, if the arm is to see; without one: e2hil virtual serves some"
        return [Finding("cameras", Level.NOTE, f"there is none at {dev}/video*", step)]
    # Cameras of one make without serial numbers share one by-id link: the last plugged in has it.
    twins = any(device.links.keys() == {"by-path"} for device in devices)
    return [_describe(device, "by-path" if twins else "by-id") for device in devices]


def _describe(device: _Device, kind: str) -> Finding:
    where = str(device.node)
    if not os.access(device.node, os.R_OK | os.W_OK):
        step = "sudo usermod -aG video $USER, then log in again"
        return Finding(where, Level.FAULT, f"{device.label}: may not be opened", step)
    if kind not in device.links:
        step = f"it has no lasting path: try e2hil doctor --camera {where}"
        return Finding(where, Level.NOTE, device.label, step)
    path = device.links[kind]
    step = (
        f"write source: {path} into its settings, which stays {_LINKS[kind]}; try e2hil doctor "
        f"--camera {path}"
    )
    return Finding(where, Level.OK, device.label, step)


def _devices(dev: Path, drivers: Path) -> list[_Device]:
    """The nodes that pictures come from, in the order of their numbers."""
    links: dict[Path, dict[str, Path]] = {}
    for kind in _LINKS:
        for link in sorted((dev / "v4l" / kind).glob("*")):
            links.setdefault(link.resolve(), {})[kind] = link
    nodes = sorted(dev.glob("video[0-9]*"), key=lambda node: (len(node.name), node.name))
    return [
        _Device(node, _text(drivers / node.name / "name") or "a camera", links.get(node, {}))
        for node in nodes
        # A camera has further nodes for its metadata, which deliver no pictures.
        if _text(drivers / node.name / "index") in ("", "0")
    ]


def _text(file: Path) -> str:
    """What a file of the system says, "" where there is none."""
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""
