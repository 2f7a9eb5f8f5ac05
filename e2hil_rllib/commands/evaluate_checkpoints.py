"""`e2hil eval --all`: how good the policy was at each of a run's checkpoints."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from e2hil_rllib.commands.display import thousands
from e2hil_rllib.commands.evaluate import evaluate_checkpoint, remember
from e2hil_rllib.run.checkpoints import CheckpointError, CheckpointStore
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode, read_evaluations, summarize
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.build import ray_session


def evaluate_checkpoints(
    path: Path, episodes: int | None, seed: int | None, console: Console
) -> None:
    """Evaluates every checkpoint of a run, and adds the results to its `evaluation.csv`.

    What is evaluated there already, with these seeds, is not evaluated again: the same command
    goes on where it was stopped.

    Args:
        path: Run folder, of a run in simulation that is not training.
        episodes: Of each checkpoint; None as the run's settings say.
        seed: Of the first episode; None as the run's settings say.
        console: Where the results are shown.

    Raises:
        UserError: There is no such run, it is training, it is one of a robot, or it has no
            checkpoint; or one cannot be loaded.
    """
    run = RunFolder(path)
    settings = run.settings()
    if settings.robots is not None:
        raise CheckpointError(
            f"The run in {path} is one of a robot, which would have to act for hours with nobody "
            "asked. Name one checkpoint of it, without --all."
        )
    checkpoints = run.checkpoints().all()
    if not checkpoints:
        raise CheckpointError(f"The run in {path} has no checkpoint yet. Wait for one.")
    first = settings.evaluation.seed if seed is None else seed
    seeds = range(first, first + (episodes or settings.evaluation.episodes))
    with run.locked(), ray_session(settings):
        for checkpoint in checkpoints:
            results = _earlier(run, checkpoint)
            if [episode.seed for episode in results] != list(seeds):
                results = evaluate_checkpoint(checkpoint, len(seeds), seeds.start)
                remember(run, results)
            console.print(_in_words(results), highlight=False)
    console.print(f"Kept in {run.evaluation}; 'e2hil report {path}' draws it.", soft_wrap=True)


def _earlier(run: RunFolder, checkpoint: Path) -> list[EvaluatedEpisode]:
    step = CheckpointStore.step_of(checkpoint)
    return [e for e in read_evaluations(run.evaluation) if e.step == step]


def _in_words(results: list[EvaluatedEpisode]) -> str:
    """Step, and success of all episodes and of those from each start variant."""
    summaries = summarize(results)
    success, interval, *_ = summaries.pop("all").in_words()
    starts = [f"{name} {summary.in_words()[0]}" for name, summary in summaries.items()]
    said = f"step {thousands(results[0].step)}: {success} ({interval}) of {len(results)} episodes"
    return ", ".join([said, *starts])
