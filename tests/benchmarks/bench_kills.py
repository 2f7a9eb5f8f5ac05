"""A run whose learner and robot are killed -9 again and again, and whether anything was lost.

`python -m tests.benchmarks.bench_kills --kills 5` kills each of the two five times at random
moments, starts what died again, and compares the learner's log and buffers with what the robot has
sent, and the goals in the servos' log with the limits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from e2hil_rllib.data.transitions import DEMONSTRATION
from e2hil_rllib.run.progress import read_rows
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.build import quiet_ray, ray_session, resume_from
from envs.hardware.setup.calibration import read_calibration
from envs.kinematics import Kinematics
from tests.goal_checks import check_goals
from tests.robot_run import RobotRun, until
from tests.run_checks import Logged, read_log

_CAPACITY = 300  # of the online buffer, so that it overflows
_SETTINGS = {
    "training": {"online_capacity": _CAPACITY},
    "checkpoint": {"every_steps": 100},
    "external": {"chunk_steps": 5},
}
_BETWEEN = (8.0, 20.0)  # from when both run to the next kill [s]


def main(kills: int = 5, seed: int = 0, folder: Path | None = None) -> None:
    """Runs it and prints what came of it."""
    rng = np.random.default_rng(seed)
    victims = rng.permutation(["learner", "robot"] * kills)
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        demonstrations = place / "demonstrations"
        settings = _SETTINGS | {
            "demonstrations": {"path": str(demonstrations)},
            "stop": {"steps": 100_000},
        }
        with RobotRun(place, settings, seed) as run:
            run.record(3, demonstrations)
            run.start_learner()
            run.start_robot()
            until(lambda: _steps(run) > 0, "first steps", 120.0)
            for victim in victims:
                time.sleep(float(rng.uniform(*_BETWEEN)))
                _kill(run, str(victim))
            time.sleep(10.0)
            run.stop("robot")
            run.wait("learner", 120.0)
            _report_goals(run)
            _compare(run, read_log(run.run_dir / "episodes"))


def _kill(run: RobotRun, victim: str) -> None:
    before = _steps(run)
    killed = run.kill(victim)
    if victim == "robot":
        until(lambda: not any(run.station.ask("registers", "follower", "Torque_Enable")), "off")
        released = f"torque off {time.monotonic() - killed:.1f} s later; "
        run.start_robot()
    else:
        released = ""
        run.start_learner()
    until(lambda: _steps(run) > before + 10, f"steps after {victim} was killed", 180.0)
    print(
        f"{victim} killed at {before} steps; {released}goes on {time.monotonic() - killed:.0f} s "
        "after the kill",
        flush=True,
    )


def _steps(run: RobotRun) -> int:
    return len(run.relay.sent)


def _report_goals(run: RobotRun) -> None:
    calibration = read_calibration(run.folder / "arm" / "follower.json", Kinematics().joint_limits)
    report = check_goals(run.station.ask("goals", "follower"), calibration)
    print(
        f"{report.goals} goals in the servos' log, {len(report.unsafe)} of them unsafe; largest "
        f"step {report.largest_step:.3f} rad"
    )
    for text in report.unsafe[:5]:
        print("  ", text)


def _compare(run: RobotRun, logged: Logged) -> None:
    sent = run.relay.sent
    print(
        f"{len(sent)} steps sent by the robot, {len(logged.ids)} in the learner's log: "
        f"{len(sent - logged.ids)} missing, {len(logged.ids - sent)} extra, "
        f"{len(logged.doubled)} twice"
    )
    folder = RunFolder(run.run_dir)
    rows = read_rows(folder.progress)
    print(f"{rows[-1]['num_env_steps_sampled_lifetime']:.0f} steps counted by the learner")
    quiet_ray()
    settings = folder.settings()
    checkpoint = folder.checkpoints().latest()
    assert checkpoint is not None
    with ray_session(settings):
        algorithm = resume_from(checkpoint, settings, folder)
        try:
            online = [tuple(map(int, each)) for each in algorithm.replay.online.ids()]
            held = algorithm.replay.demonstrations
            sources = held.sources()
            demonstrated = [
                (int(source == DEMONSTRATION), *map(int, each))
                for source, each in zip(sources, held.ids(), strict=True)
            ]
        finally:
            algorithm.stop()
    newest = logged.numbered[-_CAPACITY:]
    print(
        f"online buffer: {len(online)} steps, {len(set(online))} different; the newest "
        f"{_CAPACITY} of the log: {sorted(online) == sorted(newest)}"
    )
    people = {(0, *each) for each in logged.human}
    recorded = {each for each in demonstrated if each[0]}
    steps = sum(1 for _ in recorded)
    print(
        f"demonstration buffer: {len(demonstrated)} steps, {len(set(demonstrated))} different; "
        f"{steps} demonstrated, and exactly the human steps of the log: "
        f"{set(demonstrated) - recorded == people}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="kept; a temporary one if not")
    options = parser.parse_args()
    main(options.kills, options.seed, options.folder)
