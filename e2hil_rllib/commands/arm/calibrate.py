"""Guides a person through the calibration of an SO101; writes only when all is known."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from e2hil_rllib.commands.interrupt import stop_on_signal
from e2hil_rllib.errors import UserError
from envs.hardware.arm.arm_torque import energised, release, write_all
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import BusError, NoAnswerError
from envs.hardware.setup.arm_setup import ArmSetupError, check_calibration, write_calibration
from envs.hardware.setup.calibrating import Calibrating
from envs.hardware.setup.calibration import (
    Calibration,
    CalibrationError,
    MotorCalibration,
    calibration_path,
)
from envs.hardware.setup.homing import FULL_TURN, Progress
from envs.kinematics import JOINTS, Kinematics

_PERIOD = 0.02  # s
_IDS = {name: place + 1 for place, name in enumerate(JOINTS)}
_KINDS = {"follower": ("robots", "so101_follower"), "leader": ("teleoperators", "so101_leader")}

Poll = Callable[[], list[str]]
"""Returns the lines that were typed since the last call, without waiting."""


class CalibrateError(UserError):
    """The arm cannot be calibrated; the message says why and what to do."""


def calibration_file(out: Path | None, kind: str | None, identifier: str | None) -> Path:
    """Where the calibration is to be written: a given file, or LeRobot's place for an arm.

    Raises:
        CalibrateError: neither was named, or both, or no such kind.
    """
    if out is not None and kind is None and identifier is None:
        return out
    if out is not None or kind not in _KINDS or not identifier:
        raise CalibrateError("name either --out FILE, or --kind follower|leader and --id NAME")
    return calibration_path(*_KINDS[kind], identifier)


def calibrate(port: str, file: Path, console: Console, poll: Poll) -> None:
    """`e2hil calibrate`: nothing is written before the sweep is complete.

    Args:
        port: of the arm.
        file: where to write; an existing one is kept beside it.
        console: where to guide the person.
        poll: the lines that the person types.

    Raises:
        CalibrateError: the arm is not complete or not to be reached, or its file not writable.
    """
    limits = Kinematics().joint_limits
    travel = dict(zip(JOINTS, (limits[1] - limits[0]).tolist(), strict=True))
    try:
        with FeetechBus(port) as bus:
            _require_motors(bus)
            _let_go(bus, console, poll)
            procedure = Calibrating(bus, _IDS, travel)
            calibration = Calibration(_swept(procedure, console, poll), limits, str(file))
            _write(bus, calibration, file, console)
    except (BusError, ArmSetupError, OSError) as error:
        raise CalibrateError(f"Calibrating on port {port}: {error}") from error
    console.print(f"Calibrated: {file}", highlight=False, markup=False, soft_wrap=True)
    step = f"Next: e2hil doctor --port {port} --calibration {file}"
    console.print(step, highlight=False, markup=False, soft_wrap=True)


def _require_motors(bus: FeetechBus) -> None:
    missing = []
    for name, motor in _IDS.items():
        try:
            bus.ping(motor)
        except NoAnswerError:
            missing.append(f"{name} (motor {motor})")
    if missing:
        raise CalibrateError(
            f"{', '.join(missing)} missing on port {bus.port}: check the power supply and the "
            "three-wire cables; the motors' ids have to be 1 to 6"
        )


def _let_go(bus: FeetechBus, console: Console, poll: Poll) -> None:
    """Switches the torque off once the person supports the arm."""
    if not energised(bus, list(_IDS.values())):
        return
    console.print("The arm is under torque. Support it with a hand, then press Enter: it lets go.")
    while not poll():
        time.sleep(_PERIOD)
    release(bus, list(_IDS.values()))


def _swept(procedure: Calibrating, console: Console, poll: Poll) -> dict[str, MotorCalibration]:
    console.print(
        f"Move every joint but {FULL_TURN} slowly by hand from one end stop to the other, in any "
        f"order. Then turn {FULL_TURN} to its middle and press Enter. Ctrl-C changes nothing."
    )
    with Live(_table(procedure.progress()), console=console) as live:
        while True:
            procedure.step()
            live.update(_table(procedure.progress()))
            if poll():
                try:
                    return procedure.finish()
                except CalibrationError as error:
                    live.console.print(f"Not yet: {error}", highlight=False, markup=False)
            time.sleep(_PERIOD)


def _table(reached: dict[str, Progress]) -> Table:
    table = Table("joint", "travel [ticks]", "needed", "")
    for name, each in reached.items():
        table.add_row(name, str(each.travel), str(each.needed), "ok" if each.enough else "")
    return table


def _write(bus: FeetechBus, calibration: Calibration, file: Path, console: Console) -> None:
    """File first, then the motors; Ctrl-C waits until both are done."""
    with stop_on_signal():
        kept = keep_existing(file)
        if kept is not None:
            console.print(f"The earlier file is now {kept}", highlight=False, soft_wrap=True)
        calibration.save(file)
        for motor in calibration.ids:
            if bus.read(motor, "Operating_Mode") != 0:
                for name, value in (("Lock", 0), ("Operating_Mode", 0), ("Lock", 1)):
                    write_all(bus, name, {motor: value})
        write_calibration(bus, calibration)
        check_calibration(bus, calibration)


def keep_existing(file: Path) -> Path | None:
    """Copies a file beside itself under a name that is free, durably; None where there is none."""
    if not file.exists():
        return None
    number = 0
    while True:
        kept = file.with_name(f"{file.name}.bak{number or ''}")
        try:
            with kept.open("xb") as copy:
                copy.write(file.read_bytes())
                copy.flush()
                os.fsync(copy.fileno())
            return kept
        except FileExistsError:
            number += 1
