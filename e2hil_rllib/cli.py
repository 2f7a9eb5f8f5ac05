"""The `e2hil` command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from e2hil_rllib.errors import UserError

app = typer.Typer(
    name="e2hil",
    help="Train robot policies with a human in the loop (E2HiL), evaluate and report them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
classifier = typer.Typer(help="Tell success from camera frames.", no_args_is_help=True)
app.add_typer(classifier, name="classifier")
_console = Console()
_errors = Console(stderr=True)

Config = Annotated[Path, typer.Argument(help="Settings file, e.g. configs/touch_cube.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the file, e.g. --set training.utd_ratio=4; may be repeated.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")]


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Run folder; by default runs/ and the name of the settings file."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run in the folder; starts it if there is none."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Train, evaluate at the end, and write the report.

    Ctrl-C writes a checkpoint and stops; once more stops at once. The same command with --resume
    goes on.
    """
    from e2hil_rllib.commands.train import train as run_training
    from e2hil_rllib.run_folder import RunFolder
    from e2hil_rllib.settings import load_settings

    with _user_errors(debug):
        settings = load_settings(config, overrides)
        run = RunFolder(run_dir or Path("runs") / config.stem)
        if not run_training(settings, run, resume, _console):
            raise typer.Exit(130)


@app.command("eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder, or one of its checkpoints.")],
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Episodes; by default as the run's settings say.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the first episode; the next ones count up.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Let a trained policy act without exploration and without a human, and count successes."""
    from e2hil_rllib.commands.evaluate import evaluate_path

    with _user_errors(debug):
        evaluate_path(run, episodes, seed, _console)


@app.command()
def record(
    config: Config,
    episodes: Annotated[int, typer.Option(min=1, help="Successful episodes to keep.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder; by default demonstrations/ and the name of the settings file."),
    ] = None,
    overrides: Overrides = None,
    debug: Debug = False,
) -> None:
    """Record demonstrations from the person that the task simulates."""
    from e2hil_rllib.commands.record import record_with_progress
    from e2hil_rllib.settings import load_settings

    with _user_errors(debug):
        settings = load_settings(config, overrides)
        folder = out or Path("demonstrations") / config.stem
        record_with_progress(settings, folder, episodes, _console)


@app.command()
def crop(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder; by default crops/ and the name of the settings file."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the start; by default the settings'.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Draw what each camera sees and what of it the policy gets, to choose env.cameras by."""
    from e2hil_rllib.commands.crop import show_crops
    from e2hil_rllib.settings import load_settings

    with _user_errors(debug):
        settings = load_settings(config, overrides)
        show_crops(settings, out or Path("crops") / config.stem, seed, _console)


@app.command()
def doctor(
    port: Annotated[
        str | None,
        typer.Option(help="Serial port of an arm, e.g. /dev/ttyACM0; without it lists the ports."),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="LeRobot's calibration file of this arm, to compare with.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Check an SO101, or find its port, and say what to do next; nothing moves or is changed.

    Ends with status 1 where something is wrong.
    """
    from e2hil_rllib.commands.doctor import show_doctor

    with _user_errors(debug):
        if not show_doctor(port, calibration, _console):
            raise typer.Exit(1)


@app.command()
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
    seed: Annotated[int, typer.Option(min=0, help="Of the hand and the faults.")] = 0,
    lost: Annotated[float, typer.Option(help="Fraction of the servos' packets to lose.")] = 0.0,
    late: Annotated[float, typer.Option(help="Fraction to send 30 ms late.")] = 0.0,
    truncated: Annotated[float, typer.Option(help="Fraction to cut the end off.")] = 0.0,
    corrupted: Annotated[float, typer.Option(help="Fraction to change bytes of.")] = 0.0,
    debug: Debug = False,
) -> None:
    """Serve a virtual SO101, follower and leader on serial ports of their own, until Ctrl-C.

    Type help while it runs for faults to cause, and to move the leader.
    """
    from e2hil_rllib.commands.virtual import fault_rates, serve_virtual

    with _user_errors(debug):
        rates = fault_rates(lost, late, truncated, corrupted)
        serve_virtual(folder, cameras, _console, rates, hand, seed)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Run folder.")], debug: Debug = False) -> None:
    """Draw the curves of a run, finished or not, as pictures and as one page."""
    from e2hil_rllib.report import write_report
    from e2hil_rllib.run_folder import RunFolder

    with _user_errors(debug):
        _console.print(f"Report: {write_report(RunFolder(run))}", highlight=False)


@classifier.command("record")
def classifier_record(
    config: Config,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to record.")] = 100,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder; by default labelled/ and the name of the settings file."),
    ] = None,
    overrides: Overrides = None,
    debug: Debug = False,
) -> None:
    """Record episodes in simulation that go on after success, each frame with the truth."""
    from e2hil_rllib.commands.classifier import record_with_progress
    from e2hil_rllib.settings import load_settings

    with _user_errors(debug):
        settings = load_settings(config, overrides)
        record_with_progress(settings, out or Path("labelled") / config.stem, episodes, _console)


@classifier.command("train")
def classifier_train(
    out: Annotated[Path, typer.Option(help="Folder to write; there must be none yet.")],
    episodes: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of recorded episodes; may be repeated."),
    ] = None,
    success: Annotated[
        Path | None, typer.Option(help="Folder of episodes or pictures that all show success.")
    ] = None,
    failure: Annotated[
        Path | None, typer.Option(help="Folder of episodes or pictures none of which does.")
    ] = None,
    cameras: Annotated[
        str | None, typer.Option(help="Cameras, e.g. front,wrist; by default all there are.")
    ] = None,
    unsure_steps: Annotated[
        int,
        typer.Option(min=0, help="Frames to leave out before a success whose key came late."),
    ] = 0,
    encoder: Annotated[
        str, typer.Option(help="cnn: train a small CNN; frozen: a head on a frozen ResNet-10-T.")
    ] = "cnn",
    trunk_weights: Annotated[
        str, typer.Option(help="Of the frozen trunk: seed:N, a .safetensors file or a hub id.")
    ] = "seed:0",
    steps: Annotated[int, typer.Option(min=1, help="Batches of 64 frames, at most.")] = 1000,
    false_positive_rate: Annotated[
        float, typer.Option(help="Share of failures that the threshold may let through.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Of the split and the training.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
    debug: Debug = False,
) -> None:
    """Train a success classifier, test it on episodes it never saw, and draw its mistakes."""
    from e2hil_rllib.classifier.train import TrainingOptions, refuse_existing
    from e2hil_rllib.commands.classifier import read_labelled, train_with_progress

    with _user_errors(debug):
        options = TrainingOptions(encoder, trunk_weights, steps, seed, false_positive_rate)
        refuse_existing(out)
        names = cameras.split(",") if cameras else None
        labelled = read_labelled(episodes or [], success, failure, names, unsure_steps)
        train_with_progress(labelled, options, out, threads, _console)


def main() -> None:
    """The console command."""
    # Small networks are fastest on one thread, and BLAS reads this when it is first imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    app()


@contextmanager
def _user_errors(debug: bool) -> Iterator[None]:
    """Prints what the user can mend as one message; defects keep their traceback."""
    try:
        yield
    except UserError as error:
        if debug:
            raise
        _errors.print(
            f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True
        )
        raise typer.Exit(2) from error
