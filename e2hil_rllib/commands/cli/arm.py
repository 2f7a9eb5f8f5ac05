"""The commands of the `e2hil` command that a physical arm, or a virtual one, is used by."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from e2hil_rllib.commands.cli.common import Config, Debug, Overrides, console, user_errors


class Person(StrEnum):
    """What the person at a virtual arm does."""

    DEMONSTRATE = "demonstrate"
    INTERVENE = "intervene"
    REST = "rest"


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands under a heading of the help, in the order in which it lists them."""
    for command in (doctor, setup_motors, calibrate, teleop, robot, replay, virtual):
        app.command(rich_help_panel=panel)(command)


def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="Settings file of a robot: examines all that it names.")
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(help="Serial port of an arm, e.g. /dev/ttyACM0."),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="LeRobot's calibration file of this arm, to compare with.")
    ] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE[,SETTING=VALUE]...",
            help="Index, path, file or URL of a camera, e.g. 0,resolution=1280x720,fps=15; may be "
            "repeated.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Check an SO101 and cameras, and say what to do next; nothing moves or is changed.

    Without CONFIG, --port and --camera lists the serial ports and cameras that are there.

    Ends with status 1 where something is wrong.
    """
    from e2hil_rllib.commands.doctor import show_doctor, show_robot
    from e2hil_rllib.settings.run_settings import load_settings

    with user_errors(debug):
        well = True
        if config is not None:
            well = show_robot(load_settings(config), console)
        if config is None or port or camera:
            well &= show_doctor(port, calibration, camera or [], console)
        if not well:
            raise typer.Exit(1)


def setup_motors(
    port: Annotated[str, typer.Option(help="Serial port of the board, e.g. /dev/ttyACM0.")],
    joint: Annotated[
        str | None, typer.Option(help="Only this one, e.g. wrist_roll, whose motor was replaced.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Give the motors of an SO101 their ids: you connect one after the other.

    Can be stopped with Ctrl-C at any time and taken up again; what is done is recognised.
    """
    from e2hil_rllib.commands.arm.setup_motors import setup_motors as run
    from e2hil_rllib.commands.virtual.virtual_console import LineReader

    with user_errors(debug):
        run(port, joint, console, LineReader().poll)


def calibrate(
    port: Annotated[str, typer.Option(help="Serial port of the arm, e.g. /dev/ttyACM0.")],
    out: Annotated[Path | None, typer.Option(help="Calibration file to write.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="follower or leader: with --id, LeRobot's own place.")
    ] = None,
    identifier: Annotated[str | None, typer.Option("--id", help="Your name of the arm.")] = None,
    debug: Debug = False,
) -> None:
    """Calibrate an SO101: you move its joints by hand; Ctrl-C leaves everything as it was."""
    from e2hil_rllib.commands.arm.calibrate import calibrate as run
    from e2hil_rllib.commands.arm.calibrate import calibration_file
    from e2hil_rllib.commands.virtual.virtual_console import LineReader

    with user_errors(debug):
        run(port, calibration_file(out, kind, identifier), console, LineReader().poll)


def teleop(
    config: Config,
    overrides: Overrides = None,
    seconds: Annotated[
        float | None, typer.Option(min=1.0, help="Stop by itself after so long.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Lead the follower with the leader arm: grab it, or press space.

    What the follower does passes the same limits as in training. q or Ctrl-C lets go of the arms.
    """
    from e2hil_rllib.commands.arm.teleop import teleoperate
    from e2hil_rllib.settings.run_settings import load_settings

    with user_errors(debug):
        teleoperate(load_settings(config, overrides), console, seconds)


def robot(
    config: Config,
    overrides: Overrides = None,
    runner: Annotated[
        int, typer.Option(min=0, help="Which of several robots this is, from 0.")
    ] = 0,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Stop by itself after so many episodes.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Act with the policy of `e2hil train CONFIG`, beside the arm, and send it every step.

    You may take over at any time: grab the leader, or press space. Nothing that was done is lost:
    what the learner does not have yet waits on this machine's disk. q stops robot and learner.
    """
    from e2hil_rllib.commands.arm.robot import run_robot
    from e2hil_rllib.settings.run_settings import load_settings

    with user_errors(debug):
        run_robot(load_settings(config, overrides), config.stem, console, runner, episodes)


def replay(
    episode: Annotated[Path, typer.Argument(help="Recorded episode, a .parquet file.")],
    config: Config,
    overrides: Overrides = None,
    figure: Annotated[
        Path | None, typer.Option(help="PNG of the recorded and the replayed way, to write.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Let an arm do again what was done in an episode, and say how far off it was."""
    from e2hil_rllib.commands.arm.replay import show_replay
    from e2hil_rllib.settings.run_settings import load_settings

    with user_errors(debug):
        show_replay(load_settings(config, overrides), episode, figure, console)


def virtual(
    folder: Annotated[
        Path, typer.Option("--dir", help="Folder for the ports and calibrations while it runs.")
    ] = Path("virtual-so101"),
    cameras: Annotated[
        bool, typer.Option(help="Serve the cameras, too, as MJPEG on this machine.")
    ] = True,
    hand: Annotated[
        bool, typer.Option("--hand", help="A hand leads the leader: some seconds, a rest, again.")
    ] = False,
    person: Annotated[
        Person | None,
        typer.Option(
            help="A person does Touch Cube with leader and pedal: always, or taking over when a "
            "policy gets nowhere.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of hand, person and faults.")] = 0,
    lost: Annotated[float, typer.Option(help="Fraction of the servos' answers to lose.")] = 0.0,
    late: Annotated[float, typer.Option(help="Fraction to send 30 ms late.")] = 0.0,
    truncated: Annotated[float, typer.Option(help="Fraction to cut the end off.")] = 0.0,
    corrupted: Annotated[float, typer.Option(help="Fraction to change bytes of.")] = 0.0,
    unheard: Annotated[
        float, typer.Option(help="Fraction of the instructions not to get through.")
    ] = 0.0,
    debug: Debug = False,
) -> None:
    """Serve a virtual SO101, follower and leader on serial ports of their own, until Ctrl-C.

    Type help while it runs for faults to cause, and to move the leader.
    """
    from e2hil_rllib.commands.virtual.virtual import fault_rates, serve_virtual

    with user_errors(debug):
        rates = fault_rates(lost, late, truncated, corrupted, unheard)
        mode = None if person is None else person.value
        serve_virtual(folder, cameras, console, rates, hand, seed, mode)
