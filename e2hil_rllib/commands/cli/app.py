"""The `e2hil` command."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from e2hil_rllib.commands.cli import arm as cli_arm
from e2hil_rllib.commands.cli.common import Config, Debug, Overrides, console, user_errors

app = typer.Typer(
    name="e2hil",
    help="Train robot policies with a human in the loop (E2HiL), evaluate and report them.\n\n"
    "First step: e2hil train configs/touch_cube.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
classifier = typer.Typer(help="Tell success from camera frames.", no_args_is_help=True)
_TRAINING, _ARM, _CLASSIFIER = "Train, evaluate, report", "The arm", "Success classifier"
app.add_typer(classifier, name="classifier", rich_help_panel=_CLASSIFIER)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(f"e2hil-rllib {version('e2hil-rllib')}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options of the program itself."""


@app.command(rich_help_panel=_TRAINING)
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
    from e2hil_rllib.run.run_folder import RunFolder
    from e2hil_rllib.settings.run_settings import load_settings

    with user_errors(debug):
        settings = load_settings(config, overrides)
        run = RunFolder(run_dir or Path("runs") / config.stem)
        if not run_training(settings, run, resume, console):
            raise typer.Exit(130)


@app.command("eval", rich_help_panel=_TRAINING)
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder, or one of its checkpoints.")],
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Episodes; by default as the run's settings say.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the first episode; the next ones count up.")
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Every checkpoint of the run; its report then draws them."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Let a trained policy act without exploration and without a human, and count successes."""
    from e2hil_rllib.commands.evaluate import evaluate_path
    from e2hil_rllib.commands.evaluate_checkpoints import evaluate_checkpoints

    with user_errors(debug):
        (evaluate_checkpoints if every else evaluate_path)(run, episodes, seed, console)


@app.command(rich_help_panel=_TRAINING)
def record(
    config: Config,
    episodes: Annotated[int, typer.Option(min=1, help="Successful episodes to keep.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder; by default demonstrations/ and the name of the settings file."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what you have recorded in the folder.")
    ] = False,
    overrides: Overrides = None,
    debug: Debug = False,
) -> None:
    """Record demonstrations: yours with the leader arm, or those of a simulated person."""
    from e2hil_rllib.commands.record import record_with_progress
    from e2hil_rllib.settings.run_settings import load_settings

    with user_errors(debug):
        settings = load_settings(config, overrides)
        folder = out or Path("demonstrations") / config.stem
        if not record_with_progress(settings, folder, episodes, console, resume):
            raise typer.Exit(130)


@app.command(rich_help_panel=_TRAINING)
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
    from e2hil_rllib.settings.run_settings import load_settings

    with user_errors(debug):
        settings = load_settings(config, overrides)
        show_crops(settings, out or Path("crops") / config.stem, seed, console)


cli_arm.register(app, _ARM)


@app.command("settings", rich_help_panel=_TRAINING)
def list_settings(
    section: Annotated[
        str | None, typer.Argument(help="One section, e.g. training; by default all of them.")
    ] = None,
    debug: Debug = False,
) -> None:
    """List the keys of a settings file, with types, ranges, defaults and presets."""
    from e2hil_rllib.commands.settings import show_settings

    with user_errors(debug):
        show_settings(section, console)


@app.command(rich_help_panel=_TRAINING)
def report(
    paths: Annotated[
        list[Path], typer.Argument(help="Run folder; with --compare, folders of comparisons.")
    ],
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Compare methods: tables and figures of all trials."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="With --compare: folder to write; by default report/ in the first one."),
    ] = None,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="With --compare: only print Table I as Markdown."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Draw the curves of a run, finished or not, as pictures and as one page; compare methods."""
    from e2hil_rllib.commands.compare import compare as write_or_print
    from e2hil_rllib.commands.compare import only_run
    from e2hil_rllib.report import write_report
    from e2hil_rllib.run.run_folder import RunFolder

    with user_errors(debug):
        if compare:
            write_or_print(paths, out, markdown, console)
            return
        run = only_run(paths, out, markdown)
        console.print(f"Report: {write_report(RunFolder(run))}", highlight=False)


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
    from e2hil_rllib.settings.run_settings import load_settings

    with user_errors(debug):
        settings = load_settings(config, overrides)
        record_with_progress(settings, out or Path("labelled") / config.stem, episodes, console)


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

    with user_errors(debug):
        options = TrainingOptions(encoder, trunk_weights, steps, seed, false_positive_rate)
        refuse_existing(out)
        names = cameras.split(",") if cameras else None
        labelled = read_labelled(episodes or [], success, failure, names, unsure_steps)
        train_with_progress(labelled, options, out, threads, console)


def main() -> None:
    """The console command."""
    # Small networks are fastest on one thread, and BLAS reads this when it is first imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    app()
