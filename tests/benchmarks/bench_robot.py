"""The control loop of `e2hil robot` while `e2hil train` learns at full speed on the other core.

On the virtual SO101 with both cameras and a person, each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from e2hil_rllib.external.protocol.chunk import Chunk
from tests.benchmarks.timed import FILE
from tests.robot_run import RobotRun, until
from tests.run_checks import read_log

_LEROBOT = 786  # kB per two-camera step, as float32 and pickled, from the project's facts
_TIMED = "tests.benchmarks.timed"
_TIP_SPEED = 0.2  # [m/s]


def main(seconds: float = 60.0) -> None:
    """Runs all parts."""
    for rate in (10.0, 30.0):
        measure(f"{rate:g} Hz", rate, seconds)
    measure("10 Hz, the network drops, stalls and cuts messages in half", 10.0, seconds, _disturb)


def measure(
    label: str,
    rate: float,
    seconds: float,
    disturb: Callable[[RobotRun, float], None] | None = None,
) -> None:
    """Lets a robot and its learner run for so long, and prints what the loop was like."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ[FILE] = str(folder / "times")
        settings = {
            # A learner that never waits.
            "external": {"highest_update_ratio": 1e6, "hold_after": 60.0},
            "stop": {"steps": 10**6},
        }
        with RobotRun(folder, settings, rate=rate, step_size=_TIP_SPEED / rate) as run:
            run.start_learner(_TIMED)
            # One after the other: a virtual arm misses answers while both are being imported.
            until(lambda: "waiting for a robot" in run.printed("learner"), "a learner that waits")
            run.start_robot(_TIMED)
            until(lambda: len(run.relay.sent) > 3 * rate, "the first steps")
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                (disturb or _leave)(run, end - time.monotonic())
            run.stop("robot")
            run.wait("learner", 120.0)
            print(f"{label}: {seconds:g} s")
            _print_loop(run)
            _print_bytes(run)
            _print_first_use(run)


def _leave(run: RobotRun, left: float) -> None:
    time.sleep(min(left, 1.0))


def _disturb(run: RobotRun, left: float) -> None:
    """Some seconds of a network that is sometimes not there."""
    time.sleep(1.5)
    run.relay.cut()
    time.sleep(1.5)
    run.relay.stalled.set()
    time.sleep(min(3.0, max(0.0, left - 3.0)))
    run.relay.stalled.clear()


def _print_loop(run: RobotRun) -> None:
    wanted = re.compile(r"loop: |policy: |.* led by a person|.* steps in ")
    for line in run.printed("robot").splitlines():
        if wanted.match(line):
            print(f"  {line}")
    updates = re.findall(r"updates/s (\d+)", run.printed("learner"))
    print(f"  learner: {updates[-1]} updates/s; {run.relay.connections} connections", flush=True)


def _print_bytes(run: RobotRun) -> None:
    sizes = np.array(list(run.relay.sizes.values()))
    chunk = Chunk.from_bytes(run.relay.newest)
    raw = len(chunk.to_bytes(compress=False)) / chunk.num_steps / 1000
    print(
        f"  a two-camera step: {sizes[:, 0].sum() / sizes[:, 1].sum() / 1000:.1f} kB sent; "
        f"{raw:.1f} kB without compression ({chunk.num_steps} steps in a chunk); "
        f"LeRobot {_LEROBOT} kB"
    )


def _print_first_use(run: RobotRun) -> None:
    """From when a step was recorded to when it first was in a minibatch."""
    base = os.environ[FILE]
    with np.load(f"{base}.robot.npz") as robot, np.load(f"{base}.train.npz") as learner:
        recorded, used = robot["recorded"], learner["used"]
    places = {key: place for place, key in enumerate(read_log(run.run_dir / "episodes").numbered)}
    waits = [at - recorded[places[int(e), int(s)]] for e, s, at in used]
    median, high = np.percentile(waits, [50, 99])
    print(
        f"  from a transition to its first use: p50 {median:.1f} s, p99 {high:.1f} s "
        f"({len(waits)} of {len(recorded)} steps used)",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each part")
    main(parser.parse_args().seconds)
