"""`e2hil classifier`: recording labelled episodes, and training a success classifier on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from e2hil_rllib.classifier.dataset import LabelledEpisode, read_recordings, read_sorted
from e2hil_rllib.classifier.metrics import Proportion
from e2hil_rllib.classifier.record import record_labelled
from e2hil_rllib.classifier.success_classifier import ClassifierError
from e2hil_rllib.classifier.train import OnProgress, TrainingOptions, train_classifier
from e2hil_rllib.settings.run_settings import Settings


def record_with_progress(settings: Settings, folder: Path, episodes: int, console: Console) -> None:
    """`e2hil classifier record`: records, and shows how far it has come."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Recording", total=episodes)
        recording = record_labelled(
            settings, folder, episodes, lambda done: progress.update(task, completed=done)
        )
    console.print(
        f"Recorded {recording.episodes} episodes in {folder}: {recording.frames} frames, "
        f"{recording.success_frames} of them show success.",
        highlight=False,
    )


def read_labelled(
    episodes: Sequence[Path],
    success: Path | None,
    failure: Path | None,
    cameras: Sequence[str] | None,
    unsure_steps: int,
) -> list[LabelledEpisode]:
    """The labelled episodes that the options of `e2hil classifier train` name.

    Raises:
        ClassifierError: Neither or both ways of giving data are used, or only half of one.
        DatasetError: See `read_recordings` and `read_sorted`.
    """
    sorted_folders = [folder for folder in (success, failure) if folder is not None]
    if bool(episodes) == bool(sorted_folders) or len(sorted_folders) == 1:
        raise ClassifierError(
            "Give either recorded episodes (--episodes DIR, which may be repeated), or two folders "
            "that are sorted already: --success DIR, whose frames all show the solved task, and "
            "--failure DIR, in which none does."
        )
    if success is not None and failure is not None:
        if unsure_steps:
            raise ClassifierError(
                "--unsure-steps leaves frames out before the success of an episode, and works with "
                "--episodes only. Remove it, or the frames from the folders."
            )
        return read_sorted(success, failure, cameras)
    return read_recordings(episodes, cameras, unsure_steps)


def train_with_progress(
    episodes: list[LabelledEpisode],
    options: TrainingOptions,
    out: Path,
    threads: int,
    console: Console,
) -> None:
    """`e2hil classifier train`: trains, shows how far it has come, and prints the figures."""
    torch.set_num_threads(threads)
    with _stages(console) as on_progress:
        description = train_classifier(episodes, options, out, on_progress)
    _print_figures(description, console)
    console.print(
        f"Classifier: {out}. Look at {out / 'mistakes.png'}: a wrong label there is worth more "
        "than a longer training.",
        highlight=False,
        soft_wrap=True,
    )


@contextmanager
def _stages(console: Console) -> Iterator[OnProgress]:
    """One bar, which starts anew with each stage."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        shown = ""

        def on_progress(stage: str, done: int, total: int) -> None:
            nonlocal shown
            if stage != shown:
                progress.reset(task, description=stage, total=total)
                shown = stage
            progress.update(task, completed=done)

        yield on_progress


def _print_figures(description: dict[str, Any], console: Console) -> None:
    sizes, test = description["split"], description["test"]
    for name, purpose in (("train", "training"), ("choose", "the threshold"), ("test", "the test")):
        size = sizes[name]
        console.print(
            f"For {purpose}: {size['episodes']} episodes, {size['frames']} frames, "
            f"{size['success_frames']} of them success.",
            highlight=False,
        )
    threshold, rate = description["threshold"], description["false_positive_rate"]
    title = f"Test at threshold {threshold:.3f}, chosen for at most {100 * rate:g} % of failures"
    table = Table(title=title, title_justify="left")
    for heading in ("", "share (count; 95 % interval)"):
        table.add_column(heading)
    names = {
        "recall": "success frames found",
        "precision": "found frames that are success",
        "false_positive_rate": "failure frames taken for success",
    }
    for key, name in names.items():
        table.add_row(name, _shown(test["frames"][key]))
    for figures in test["episodes"]:
        agree = f"{figures['agree']} of {figures['window']} frames"
        table.add_row(f"successes found, {agree}", _shown(figures["found"]))
        table.add_row(f"episodes ended too early, {agree}", _shown(figures["false_end"]))
    console.print(table, highlight=False)


def _shown(figure: dict[str, Any]) -> str:
    return str(Proportion(figure["count"], figure["total"]))
