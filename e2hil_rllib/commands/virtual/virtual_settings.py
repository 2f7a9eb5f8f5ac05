"""The settings file of a virtual SO101, which the commands of a real one take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from envs.virtual.virtual_so101 import VirtualFolderError, VirtualSO101

_HEADER = "# Written by e2hil virtual, for as long as it runs.\n"


_STEPS = 100  # of an episode at 10 Hz: Touch Cube's in simulation, too


def write_settings(so101: VirtualSO101, folder: Path, with_person: bool = False) -> Path:
    """Writes `so101.yaml` into the folder of a virtual SO101, over one of an earlier one only.

    Args:
        so101: the arms.
        folder: theirs.
        with_person: whether a person does Touch Cube there: then the file names their pedal, and
            how long they may take.

    Raises:
        VirtualFolderError: there is such a file that is somebody's own.
    """
    path = folder / "so101.yaml"
    if path.exists() and not path.read_text(encoding="utf-8").startswith(_HEADER):
        raise VirtualFolderError(
            f"{path} is somebody's own file: move it away or choose another folder, as in --dir "
            "other"
        )
    env: dict[str, Any] = {
        name: {
            "port": str(arm.link.absolute()),
            "calibration": str(arm.calibration_file.absolute()),
        }
        for name, arm in (("follower", so101.follower), ("leader", so101.leader))
    }
    if so101.cameras is not None:
        # A scene that is rendered and stands still gives the same picture twice.
        env["cameras"] = {
            name: {"source": url, "may_repeat": True} for name, url in so101.cameras.urls.items()
        }
    if with_person:
        env |= {"pedal": str(so101.pedal_link.absolute()), "max_episode_steps": _STEPS}
    values: dict[str, Any] = {"task": "envs:SO101Robot-v0", "env": env}
    if with_person and so101.cameras is not None:
        # As configs/so101_real.yaml trains: the policy sees the cube in the pictures only.
        values["vision"] = {"encoder": "frozen", "trunk_weights": "seed:0"}
    values["stop"] = {"steps": 4000}
    path.write_text(_HEADER + yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path
