"""Virtual hand: it moves the leader, repeats with its seed, and presses keys."""

import os
import pty
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from envs.hardware.bus.servo_bus import FeetechBus
from envs.operators.keys import KeyEvent, Keys
from envs.virtual.virtual_hand import VirtualHand
from envs.virtual.virtual_so101 import VirtualArm, VirtualSO101
from envs.workspace import Workspace
from tests.patience import MARGIN, stretched, wait_until

pytestmark = pytest.mark.realtime


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[VirtualArm]:
    with VirtualSO101(tmp_path / "arms") as so101:
        yield so101.leader


def test_the_hand_leads_the_limp_leader_through_points(leader: VirtualArm) -> None:
    hand = VirtualHand(leader)
    assert not hand.holding
    for point in ([0.22, 0.05, 0.06], [0.28, -0.1, 0.03]):
        hand.move_to(point)
        wait_until(lambda point=point: np.linalg.norm(hand.tcp - point) < 0.002)
    hand.follow([[0.2, 0.0, 0.05], [0.22, 0.1, 0.05]], gripper=0.8, speed=0.3)
    wait_until(lambda: np.linalg.norm(hand.tcp - [0.22, 0.1, 0.05]) < 0.002)
    assert hand.joints[-1] == pytest.approx(0.8, abs=0.01)
    hand.let_go()
    assert not hand.holding
    wait_until(lambda: hand.tcp[2] < 0.04, what="it does not sink")


def test_the_hand_wins_against_low_torque(leader: VirtualArm) -> None:
    hand = VirtualHand(leader)
    with FeetechBus(str(leader.link), margin=MARGIN) as bus:
        bus.sync_write("Torque_Limit", dict.fromkeys(range(1, 7), 100))
        bus.sync_write("Torque_Enable", dict.fromkeys(range(1, 7), 1))
        hand.move_to([0.24, 0.08, 0.06])
        wait_until(lambda: np.linalg.norm(hand.tcp - [0.24, 0.08, 0.06]) < 0.005)


def test_the_hand_keeps_its_speed_and_a_straight_line(leader: VirtualArm) -> None:
    hand = VirtualHand(leader)
    start, goal = np.array([0.2, -0.08, 0.05]), np.array([0.28, 0.08, 0.05])
    hand.move_to(start)
    hand.aim(goal, speed=0.2)
    began, seen = time.monotonic(), []
    while hand.step():
        seen.append(hand.tcp)
        time.sleep(0.02)
    assert time.monotonic() - began > np.linalg.norm(goal - start) / 0.2
    along = (goal - start) / np.linalg.norm(goal - start)
    off = [point - start - along * ((point - start) @ along) for point in seen]
    assert np.linalg.norm(off, axis=1).max() < 0.01


def test_unreachable_points_are_refused(leader: VirtualArm) -> None:
    hand = VirtualHand(leader)
    with pytest.raises(ValueError, match="cannot get its TCP to"):
        hand.move_to([0.9, 0.0, 0.1])
    with pytest.raises(ValueError, match="speed must be"):
        hand.follow([0.2, 0.0, 0.05], speed=9.0)
    with pytest.raises(ValueError, match="gripper must be"):
        hand.turn_gripper(5.0)
    assert not hand.holding


def wandered(leader: VirtualArm, seed: int) -> list[tuple[float, ...]]:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    hand = VirtualHand(leader, seed, clock=lambda: now[0], sleep=sleep)
    points: list[tuple[float, ...]] = []
    for point in hand.wander():
        sleep(0.05)
        if not points or points[-1] != tuple(point):
            points.append(tuple(point))
        if len(points) == 6:
            break
    hand.let_go()
    return points


def test_wandering_repeats_with_the_seed_and_stays_in_the_box(leader: VirtualArm) -> None:
    points = wandered(leader, 3)
    assert points == wandered(leader, 3) != wandered(leader, 4)
    box = Workspace()
    assert all((np.array(p) >= box.low).all() and (np.array(p) <= box.high).all() for p in points)


def test_pressed_keys_arrive(leader: VirtualArm) -> None:
    hand = VirtualHand(leader)
    master, slave = pty.openpty()
    with os.fdopen(slave) as keyboard, Keys(keyboard) as keys:
        for event in KeyEvent:
            hand.press(event, master)
        seen: list[KeyEvent] = []
        end = time.monotonic() + stretched(3.0)
        while len(seen) < len(KeyEvent) and time.monotonic() < end:
            seen += keys.poll()
        assert seen == list(KeyEvent)
    os.close(master)
