"""`e2hil eval`: deterministic episodes of a trained policy, without a human."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from e2hil_rllib.commands.arm.evaluate_robot import evaluate_on_robot
from e2hil_rllib.commands.display import thousands
from e2hil_rllib.run.checkpoints import CheckpointError, CheckpointStore
from e2hil_rllib.run.evaluation_log import (
    EvaluatedEpisode,
    judgement,
    read_evaluations,
    summarize,
    write_evaluations,
)
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.build import ray_session, restore

if TYPE_CHECKING:
    from e2hil_rllib.algorithm import E2HiL


def find_checkpoint(path: Path) -> tuple[RunFolder, Path]:
    """The run and the checkpoint that a path names: a run's newest one, or the checkpoint itself.

    Raises:
        CheckpointError: It is neither, or the run has none yet.
    """
    if not path.is_dir():
        raise CheckpointError(f"There is no folder {path}; name a run folder or a checkpoint.")
    if path.parent.name == "checkpoints":
        CheckpointStore.step_of(path)
        return RunFolder(path.parent.parent), path
    run = RunFolder(path)
    run.settings()
    checkpoint = run.checkpoints().latest()
    if checkpoint is None:
        raise CheckpointError(
            f"The run in {path} has no checkpoint yet. Wait for one, or go on with 'e2hil train "
            f"CONFIG --run-dir {path} --resume'."
        )
    return run, checkpoint


def evaluate(algorithm: E2HiL, step: int, episodes: int, seed: int) -> list[EvaluatedEpisode]:
    """Runs episodes with seeds from `seed` on."""
    results = algorithm.evaluate_episodes(num_episodes=episodes, seed=seed)
    return [EvaluatedEpisode.from_algorithm(step, result) for result in results]


def evaluate_checkpoint(checkpoint: Path, episodes: int, seed: int) -> list[EvaluatedEpisode]:
    """Runs episodes of a checkpoint's policy in simulation, within a `ray_session`.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    algorithm = restore(checkpoint)
    try:
        return evaluate(algorithm, CheckpointStore.step_of(checkpoint), episodes, seed)
    finally:
        algorithm.stop()


def remember(run: RunFolder, results: list[EvaluatedEpisode]) -> None:
    """Writes an evaluation into a run, in the place of an earlier one of the same policy."""
    steps = {episode.step for episode in results}
    earlier = [e for e in read_evaluations(run.evaluation) if e.step not in steps]
    write_evaluations(run.evaluation, sorted([*earlier, *results], key=lambda e: e.step))


def evaluate_path(path: Path, episodes: int | None, seed: int | None, console: Console) -> None:
    """Evaluates a run or a checkpoint and prints what it comes to.

    One that was trained on a robot is evaluated on it, and the run remembers that.

    Raises:
        UserError: There is no such run or checkpoint, or it cannot be loaded.
    """
    run, checkpoint = find_checkpoint(path)
    settings = run.settings()
    wanted = settings.evaluation
    episodes = wanted.episodes if episodes is None else episodes
    seed = wanted.seed if seed is None else seed
    console.print(f"Evaluating {checkpoint}.", highlight=False)
    if settings.robots is not None:
        results = evaluate_on_robot(settings, checkpoint, episodes, seed, console)
        remember(run, results)
    else:
        with ray_session(settings):
            results = evaluate_checkpoint(checkpoint, episodes, seed)
    if results:
        print_evaluation(console, results)


def print_evaluation(console: Console, episodes: list[EvaluatedEpisode]) -> None:
    """Prints success and length over all episodes, and apart by the task's start variants."""
    step = thousands(episodes[0].step)
    table = Table(title=f"Evaluation at step {step}: deterministic, without a human")
    for name in ("start", "success", "95 % interval", "episodes", "steps", "return"):
        table.add_column(name, justify="left" if name == "start" else "right")
    for name, summary in summarize(episodes).items():
        table.add_row(name, *summary.in_words())
    console.print(table)
    if said := judgement(episodes):
        console.print(said, highlight=False)
