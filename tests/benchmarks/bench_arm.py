"""The physical arm's control loop, on the virtual arm in a process of its own.

`python -m tests.benchmarks.bench_arm --seconds 600` runs each part for ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from e2hil_rllib.commands.arm.arm_display import LoopRecord
from envs.hardware.robot import make_physical
from envs.hardware.setup.calibration import read_calibration
from envs.kinematics import Kinematics
from envs.operators.keys import KeyEvent
from envs.virtual.line_faults import FaultRates
from tests.goal_checks import GoalReport, check_goals
from tests.station import Station

STEP_SPEED = 0.2
"""Largest speed of the TCP along an axis, 20 mm at 10 Hz [m/s]."""
_HAND_SPEED, _SHORTEST_WAY, _MOVED = 0.25, 0.06, 0.003  # [m/s], [m], [m]
_LONGEST_GRAB = 3.0  # [s]
_REACH = np.array([[0.18, -0.12, 0.04], [0.28, 0.12, 0.1]])  # corners of a box [m]
_BAD_CABLE = FaultRates(lost=0.01, corrupted=0.01, unheard=0.02)


class Typed:
    """Keys that a program presses."""

    source = "lines"

    def __init__(self) -> None:
        self._pressed: list[KeyEvent] = []

    def press(self, *events: KeyEvent) -> None:
        """Presses keys."""
        self._pressed += events

    def poll(self) -> list[KeyEvent]:
        """Returns what was pressed since the last call."""
        pressed, self._pressed = self._pressed, []
        return pressed

    def close(self) -> None:
        """There is nothing to close."""


class Timed:
    """How long it takes from the joints' reading to the first goal of the action that follows.

    Args:
        env: the environment.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._arm = env.get_wrapper_attr("physical_arm")
        self._send = self._arm.link.send
        self._read_at: float | None = None
        self.latencies: list[float] = []
        self._arm._goals._send_goals = self._sent

    def read(self, info: dict[str, Any]) -> None:
        """An observation was taken."""
        self._read_at = info["state_time"]

    def _sent(self, goals: np.ndarray) -> None:
        self._send(goals)
        if self._read_at is not None:
            self.latencies.append(time.monotonic() - self._read_at)
            self._read_at = None


@contextlib.contextmanager
def robot(
    station: Station, keys: Typed, **options: Any
) -> Iterator[tuple[gymnasium.Env[Any, Any], LoopRecord, Timed]]:
    """The environment of a station's arms."""
    env = make_physical(**station.env_options(**options), keys=keys)
    try:
        yield env, LoopRecord(env), Timed(env)
    finally:
        env.close()


def teleoperate(
    station: Station, seconds: float, rate: float, **options: Any
) -> tuple[LoopRecord, Timed, float]:
    """The hand leads the follower for so long [s]; also returns the share of a core it took."""
    keys = Typed()
    options = {"control_hz": rate, "step_size": STEP_SPEED / rate, **options}
    with robot(station, keys, **options) as (env, record, timed):
        station.ask("wander")
        _begin(env, keys, KeyEvent.TAKE_OVER)
        cpu, begun = time.process_time(), time.monotonic()
        idle = np.zeros(4)
        while time.monotonic() - begun < seconds:
            *_, terminated, truncated, info = env.step(idle)
            record.add(info)
            timed.read(info)
            if terminated or truncated:
                print(f"  interrupted: {info['interrupted']}", flush=True)
                _begin(env, keys, KeyEvent.TAKE_OVER)
                record.begin()
        share = (time.process_time() - cpu) / (time.monotonic() - begun)
    return record, timed, share


def _begin(env: gymnasium.Env[Any, Any], keys: Typed, event: KeyEvent) -> None:
    """Resets, with a key pressed once the arm stands at its start."""

    def press(line: str) -> None:
        if line.startswith("ready"):
            keys.press(event)

    env.set_wrapper_attr("announce", press)
    env.reset(seed=0)


def safety(station: Station) -> GoalReport:
    """What the follower's servos were told."""
    file = station.folder / "follower.json"
    calibration = read_calibration(file, Kinematics().joint_limits)
    return check_goals(station.ask("goals", "follower"), calibration)


def control_loop(seconds: float, rates: FaultRates | None = None) -> None:
    """Teleoperation with two cameras at 30 Hz."""
    label = "sound cable" if rates is None else f"bad cable ({rates})"
    with tempfile.TemporaryDirectory() as folder, Station(Path(folder), cameras=True) as station:
        if rates is not None:
            station.ask("disturb", rates)
        spent = -station.ask("cpu_time")
        record, timed, share = teleoperate(station, seconds, rate=30.0)
        spent += station.ask("cpu_time")
        print(f"{label}: {seconds:g} s at 30 Hz with two cameras")
        for line in record.lines():
            print(f"  {line}")
        median, high = np.percentile(timed.latencies, [50, 99]) * 1000
        print(
            f"  joints read to first goal: p50 {median:.1f} ms, p99 {high:.1f} ms; "
            f"{record.counters.transactions / seconds:.0f} transactions/s; {100 * share:.0f} % of "
            f"a core (virtual arms and cameras: {100 * spent / seconds:.0f} %, "
            f"{station.ask('behind'):.2f} s behind)"
        )
        report = safety(station)
        print(
            f"  {report.goals} goals, {len(report.unsafe)} unsafe; largest step "
            f"{report.largest_step:.3f} rad, fastest {report.fastest:.2f} rad/s, furthest ahead "
            f"{report.largest_lead:.3f} rad, out of the box by {1000 * report.furthest_out:.1f} mm",
            *report.unsafe[:5],
            sep="\n    ",
            flush=True,
        )
        if rates is not None:
            print(f"  packets: {station.ask('faults')}", flush=True)


def mirroring(seconds: float, grabs: int = 12) -> None:
    """A restless policy acts, the leader mirrors it, and at times a hand takes the leader."""
    keys, rng = Typed(), np.random.default_rng(0)
    false_takeovers, latencies = 0, []
    with (
        tempfile.TemporaryDirectory() as folder,
        Station(Path(folder)) as station,
        robot(station, keys, cameras=None) as (env, _, _),
    ):
        _begin(env, keys, KeyEvent.GIVE_BACK)
        operator = env.get_wrapper_attr("operator")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            env.step(rng.uniform(-1.0, 1.0, 4))
            if operator.leading:
                false_takeovers += 1
                keys.press(KeyEvent.GIVE_BACK)
        for _ in range(grabs):
            for _ in range(30):
                env.step(rng.uniform(-1.0, 1.0, 4))
            latencies.append(_grab(station, operator, rng))  # of the whole, and once it has moved
            for _ in range(5):
                env.step(np.zeros(4))
            station.ask("let_go")
            keys.press(KeyEvent.GIVE_BACK)
    begun, moved = 1000 * np.transpose(latencies)
    print(
        f"mirroring a restless policy for {seconds:g} s: {false_takeovers} false takeovers\n"
        f"  {grabs} grabs by a hand that speeds up to {_HAND_SPEED:g} m/s: noticed "
        f"{np.median(begun):.0f} ms after it began (median; slowest {begun.max():.0f} ms), and "
        f"{np.median(moved):.0f} ms after it had moved the leader by {1000 * _MOVED:g} mm "
        f"(slowest {moved.max():.0f} ms)",
        flush=True,
    )


def _grab(station: Station, operator: Any, rng: np.random.Generator) -> tuple[float, float]:
    """A hand leads the leader to a point.

    Returns:
        How long it takes to be noticed, from its beginning and from when it has moved the leader
        by `_MOVED` [s]; 0 where it was noticed before that.
    """
    start = np.array(station.ask("tcp"))
    goal = start
    while np.linalg.norm(goal - start) < _SHORTEST_WAY:
        goal = rng.uniform(*_REACH)
    begun = station.ask("grab_and_move", [float(each) for each in goal], _HAND_SPEED)
    moved = np.inf
    while not operator.grabbed:
        now = time.monotonic()
        if now > begun + _LONGEST_GRAB:
            return np.inf, np.inf
        if now < moved and np.linalg.norm(np.array(station.ask("tcp")) - start) >= _MOVED:
            moved = now
    noticed = time.monotonic()
    return noticed - begun, max(0.0, noticed - moved)


PARTS: dict[str, Callable[[float], None]] = {
    "sound_cable": control_loop,
    "bad_cable": lambda seconds: control_loop(seconds, _BAD_CABLE),
    "mirroring": mirroring,
}


def main(seconds: float = 60.0, parts: Sequence[str] = tuple(PARTS)) -> None:
    """Prints all figures."""
    for part in parts:
        PARTS[part](seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all when left out")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each part")
    given = parser.parse_args()
    main(given.seconds, given.parts or tuple(PARTS))
