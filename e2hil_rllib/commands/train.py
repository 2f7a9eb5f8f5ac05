"""`e2hil train`: from settings to a trained policy, its evaluation and its report."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import Progress

from e2hil_rllib.commands.crop import View, draw_view
from e2hil_rllib.commands.display import AUTONOMOUS, TrainingDisplay, duration, thousands
from e2hil_rllib.commands.evaluate import evaluate, print_evaluation
from e2hil_rllib.commands.interrupt import StopRequest, stop_on_signal
from e2hil_rllib.commands.record import record_demonstrations
from e2hil_rllib.data.outcomes import WINDOW
from e2hil_rllib.disk.files import WriteError
from e2hil_rllib.errors import UserError
from e2hil_rllib.report import write_report
from e2hil_rllib.report.comparison.method_curves import evaluated_series
from e2hil_rllib.run.checkpoints import CheckpointStore
from e2hil_rllib.run.evaluation_log import (
    first_lasting,
    read_evaluations,
    summarize,
    write_evaluations,
)
from e2hil_rllib.run.progress import STEP, ProgressLog, Row, flatten
from e2hil_rllib.run.run_folder import RunFolder, RunFolderError
from e2hil_rllib.settings.build import build, check_settings, ray_session, resume_from
from e2hil_rllib.settings.run_settings import Settings, changed_keys

if TYPE_CHECKING:
    from e2hil_rllib.algorithm import E2HiL
    from e2hil_rllib.env_runner import E2HiLEnvRunner
    from e2hil_rllib.external.learner.robot_feed import RobotFeed

T = TypeVar("T")

EPISODES = "num_episodes_lifetime"

_LAST_STEPS = 10.0  # for what robots still have to send at the end [s]


class TrainingError(UserError):
    """Training could not go on; the message says why, and from where it can."""


def train(
    settings: Settings, run: RunFolder, resume: bool, console: Console, report: bool = True
) -> bool:
    """Trains until the settings' end, then evaluates and reports.

    Args:
        settings: What to train.
        run: Where everything goes.
        resume: Go on from the newest checkpoint, if the folder holds a run.
        console: Where progress is shown.
        report: Write the report at the end; it takes seconds, and `e2hil report` does it, too.

    Returns:
        Whether the run has come to its end; False after a request to stop.

    Raises:
        UserError: The folder, the settings, a file or the environment cannot be used.
    """
    with run.locked():
        new = run.is_new()
        settings, checkpoint = _open_folder(settings, run, resume)
        with ray_session(settings):
            try:
                algorithm = _begin(settings, run, checkpoint, console)
            except UserError:
                if new:
                    run.clear()  # so that the mended settings can be used in the same folder
                raise
            try:
                ended = _Training(settings, run, algorithm, console).run(checkpoint)
            finally:
                algorithm.stop()
        if ended and report:
            console.print(f"Report: {write_report(run)}", highlight=False)
        return ended


def _open_folder(settings: Settings, run: RunFolder, resume: bool) -> tuple[Settings, Path | None]:
    """Check the folder and write the settings into it.

    Returns:
        The settings, with the preset's numbers of a run that is resumed, and its checkpoint.
    """
    if not run.is_new() and not resume:
        raise RunFolderError(
            f"{run.root} is not empty. Add --resume to go on with the run in it, or name another "
            "folder with --run-dir."
        )
    if run.config.exists():
        begun = run.settings()
        settings = settings.with_preset_of(begun)
        changed = changed_keys(begun, settings)
        if changed:
            raise RunFolderError(
                f"The run in {run.root} was started with other values of {', '.join(changed)}, "
                "and a run cannot change them. "
                + (
                    f"Add --set preset={begun.preset}, or name another --run-dir."
                    if changed == ["preset"]
                    else "Use its own config.yaml, or another --run-dir."
                )
            )
    elif not run.is_new():
        raise RunFolderError(
            f"{run.root} holds files, but no run: it has no config.yaml. Name another --run-dir."
        )
    check_settings(settings, run)
    run.write_settings(settings)
    return settings, run.checkpoints().latest()


def _begin(settings: Settings, run: RunFolder, checkpoint: Path | None, console: Console) -> E2HiL:
    if checkpoint is None:
        _record(settings, run, console)
        return build(settings, run)
    console.print(f"Going on from {checkpoint}.", highlight=False)
    return resume_from(checkpoint, settings, run)


def _record(settings: Settings, run: RunFolder, console: Console) -> None:
    """Records the demonstrations of a new run; what an interrupted recording left goes first."""
    if settings.demonstrations is None or settings.demonstrations.record is None:
        return
    shutil.rmtree(run.demonstrations, ignore_errors=True)
    recording = record_demonstrations(settings, run.demonstrations, settings.demonstrations.record)
    console.print(
        f"Recorded {recording.episodes} demonstrations ({recording.steps} steps; "
        f"{recording.failed} attempts failed).",
        highlight=False,
    )


def _camera_frames(runner: E2HiLEnvRunner) -> tuple[dict[str, Any], dict[str, View]] | None:
    """The raw frames of a runner's first environment and its views of them, if it has cameras."""
    cameras: Any = getattr(runner.env.unwrapped.envs[0].unwrapped, "cameras", None)
    return (cameras.raw(), dict(cameras.views)) if hasattr(cameras, "raw") else None


def draw_run_crops(algorithm: E2HiL, folder: Path) -> None:
    """Draws what of each camera the policy gets, from the environment that the run steps anyway.

    No environment is made or reset for it, so that no arm moves. There are no pictures where the
    environment has no cameras.

    Args:
        algorithm: After an iteration, so that its environments have started.
        folder: Where the pictures go, as `<camera>.png`.
    """
    group = algorithm.env_runner_group
    local = group.num_remote_env_runners() == 0
    first, *_ = group.foreach_env_runner(_camera_frames, local_env_runner=local)
    if first is None:
        return
    frames, views = first
    folder.mkdir(exist_ok=True)
    for name, view in views.items():
        draw_view(folder / f"{name}.png", name, frames[name], view)


class _Training:
    """One process's share of a run."""

    def __init__(
        self, settings: Settings, run: RunFolder, algorithm: E2HiL, console: Console
    ) -> None:
        self._settings = settings
        self._run = run
        self._algorithm = algorithm
        self._console = console
        self._checkpoints = run.checkpoints(settings.checkpoint.keep)
        self._drew_crops = False

    def run(self, checkpoint: Path | None) -> bool:
        step = None if checkpoint is None else CheckpointStore.step_of(checkpoint)
        evaluated = [e for e in read_evaluations(self._run.evaluation) if e.step <= (step or 0)]
        if evaluated or self._run.evaluation.exists():
            write_evaluations(self._run.evaluation, evaluated)
        if checkpoint is None:
            self._warm_start()
            # With a first checkpoint, a kill before the next one loses no finished episode either.
            self._save({STEP: 0.0})
        log = ProgressLog(self._run.progress, self._run.tensorboard, step)
        try:
            with stop_on_signal() as stop:
                ended = self._loop(log, step or 0, stop)
                trained = bool(log.last) and log.last[STEP] > (step or 0)
        finally:
            log.close()
        if not ended:
            self._console.print(
                f"Stopped. A checkpoint is in {self._checkpoints.latest()}; to go on, give the "
                "same command again with --resume.",
                highlight=False,
                soft_wrap=True,
            )
            return False
        if not trained:
            self._console.print(
                f"This run has ended, at step {thousands(log.last[STEP])}. To train anew, name "
                f"another --run-dir, or remove {self._run.root}; to go on, raise stop.steps.",
                highlight=False,
                soft_wrap=True,
            )
        self._finish(int(log.last[STEP]))
        return True

    def _warm_start(self) -> None:
        """Learns from the demonstrations before the first step, where the settings say so."""
        begun = time.monotonic()
        with Progress(console=self._console, transient=True) as progress:
            task = progress.add_task("Learning from the demonstrations", total=None)
            updates = self._guarded(
                lambda: self._algorithm.warm_start(
                    lambda done, total: progress.update(task, completed=done, total=total)
                )
            )
        if updates:
            self._console.print(
                f"Learned from the demonstrations: {thousands(updates)} updates in "
                f"{duration(time.monotonic() - begun)}.",
                highlight=False,
            )

    def _loop(self, log: ProgressLog, step: int, stop: StopRequest) -> bool:
        """Iterates until the end (True) or a request to stop (False), checkpointed either way."""
        row = log.last or {STEP: 0.0}
        display = TrainingDisplay(self._console, self._settings.stop.steps, row)
        saved = evaluated = step
        saved_at, robots = time.monotonic(), self._algorithm.robots
        with display:
            while not (self._is_done(row) or stop or (robots and robots.stopped)):
                before, row = row[STEP], self._iterate()
                if not robots and self._due(row, evaluated, self._settings.evaluation.every_steps):
                    row |= self._evaluate(int(row[STEP]))
                    evaluated = int(row[STEP])
                if row[STEP] > before:
                    log.append(row)
                display.show(row, robots.in_words() if robots else "")
                if self._due(row, saved, self._settings.checkpoint.every_steps) or (
                    row[STEP] > saved and self._late(saved_at)
                ):
                    saved, saved_at = self._save(row), time.monotonic()
        if robots:
            row = self._end_robots(robots, row, log)
        self._save(row)
        return self._is_done(row)

    def _late(self, saved_at: float) -> bool:
        minutes = self._settings.checkpoint_minutes
        return minutes is not None and time.monotonic() - saved_at > 60 * minutes

    def _end_robots(self, robots: RobotFeed, row: Row, log: ProgressLog) -> Row:
        """Lets robots stop where training has ended, and takes in what they still send."""
        done = self._is_done(row)
        if done:
            robots.tell({"done": True})
        end = time.monotonic() + (_LAST_STEPS if done or robots.stopped else 0.0)
        training = self._algorithm.robot_training
        while training and not training.drain() and time.monotonic() < end:
            time.sleep(0.1)
        last = self._iterate()
        if last[STEP] > row[STEP]:
            log.append(last)
        return last

    def _is_done(self, row: Row) -> bool:
        wanted = self._settings.stop.autonomous_success_rate
        # A few lucky episodes at the start say nothing: the rate is of 100 of them.
        enough = row.get(EPISODES, math.inf) > WINDOW
        reached = wanted is not None and enough and row.get(AUTONOMOUS, math.nan) >= wanted
        return reached or self._success_lasts(row) or row[STEP] >= self._settings.stop.steps

    def _success_lasts(self, row: Row) -> bool:
        """Whether enough evaluations in a row have reached what was wanted."""
        wanted = self._settings.stop.lasting_success
        if wanted is None or "evaluation/success_rate" not in row:
            return False
        _, rates = evaluated_series(read_evaluations(self._run.evaluation))
        return first_lasting(rates.tolist(), wanted) is not None

    @staticmethod
    def _due(row: Row, last: int, interval: int | None) -> bool:
        return interval is not None and int(row[STEP]) // interval > last // interval

    def _iterate(self) -> Row:
        row = flatten(self._guarded(self._algorithm.train))
        if not self._drew_crops and not self._algorithm.robots:
            self._guarded(lambda: draw_run_crops(self._algorithm, self._run.crops))
            self._drew_crops = True
        return row

    def _guarded(self, learn: Callable[[], T]) -> T:
        """Calls what may stop training.

        Raises:
            TrainingError: It did; the message says why, and where the work until then is.
        """
        try:
            return learn()
        except (ValueError, TypeError, ArithmeticError, RuntimeError, OSError, WriteError) as error:
            cause = str(getattr(error, "cause", None) or error).removesuffix(".")
            raise TrainingError(
                f"Training stopped: {cause}. The newest checkpoint is "
                f"{self._checkpoints.latest() or 'none'}; episodes are in {self._run.episodes}."
            ) from error

    def _save(self, row: Row) -> int:
        self._checkpoints.save(int(row[STEP]), self._algorithm.save_to_path)
        return int(row[STEP])

    def _evaluate(self, step: int) -> Row:
        wanted = self._settings.evaluation
        episodes = evaluate(self._algorithm, step, wanted.episodes, wanted.seed)
        earlier = [e for e in read_evaluations(self._run.evaluation) if e.step != step]
        write_evaluations(self._run.evaluation, [*earlier, *episodes])
        summary = summarize(episodes)["all"]
        return {
            "evaluation/success_rate": summary.success_rate,
            "evaluation/episode_return_mean": summary.mean_return,
        }

    def _finish(self, step: int) -> None:
        if not self._algorithm.robots:
            if all(episode.step != step for episode in read_evaluations(self._run.evaluation)):
                self._evaluate(step)
            episodes = [e for e in read_evaluations(self._run.evaluation) if e.step == step]
            print_evaluation(self._console, episodes)
        else:
            self._console.print(
                f"To measure the policy on the robot: e2hil eval {self._run.root}",
                highlight=False,
                soft_wrap=True,
            )
