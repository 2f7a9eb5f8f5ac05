"""Grab detection on the leader's physics without its bus: minutes of mirroring take seconds.

Ten minutes in real time, with the bus and an arm that follows, are a benchmark (``bench_arm``).
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from envs.hardware.bus.telemetry import RADIANS_PER_TICK
from envs.hardware.leader.grabbing import GrabDetector, GrabRule
from envs.hardware.leader.leader_settings import LeaderSettings
from envs.hardware.leader.mirroring import Mirroring
from envs.kinematics import HOME, JOINTS, Kinematics
from envs.sim.scene import Scene
from envs.virtual.mujoco_plant import LEADER_GEARS, MujocoPlant
from envs.virtual.plant import FULL_SPEED, Drive
from envs.workspace import Workspace, clamp

SETTINGS = LeaderSettings(grace=0.0)
PERIOD = 1 / SETTINGS.rate
SOFT, STIFF = 10.0, 340.0  # [1/rad]
LOWEST, HIGHEST = Kinematics().joint_limits


class Mirrored:
    """Leader that mirrors joint angles in simulated time."""

    def __init__(self, stiffness: float = SOFT, start: np.ndarray = HOME) -> None:
        self.plant = MujocoPlant(Scene(0, 0.002, Workspace()), start, LEADER_GEARS)
        self.detector = GrabDetector(SETTINGS.grab)
        self.mirroring = Mirroring(SETTINGS, np.array(start), 0.0)
        self.stiffness, self.now = stiffness, 0.0

    def period(self, follower: np.ndarray) -> bool:
        self.now += PERIOD
        goals = self.mirroring.next(follower, self.now)
        self.detector.sent(goals, self.now)
        drives = {
            joint: Drive(goal, SETTINGS.torque, FULL_SPEED, self.stiffness)
            for joint, goal in enumerate(goals)
        }
        self.plant.step(PERIOD, drives)
        angles = np.array([self.plant.state(joint).position for joint in range(6)])
        ticks = np.round(angles / RADIANS_PER_TICK) * RADIANS_PER_TICK
        return self.detector.update(ticks, self.now)


def wandering(seed: int, restless: bool) -> Iterator[np.ndarray]:
    """Yield joint angles of a follower at 10 Hz, one for each period of the leader."""
    rng, kinematics, box = np.random.default_rng(seed), Kinematics(), Workspace()
    tcp, gripper = kinematics.forward(np.array(HOME)), HOME[-1]
    goal = tcp
    while True:
        if restless:  # a policy that knows nothing yet
            tcp = clamp(tcp + rng.uniform(-0.02, 0.02, 3), box)
            gripper = float(np.clip(gripper + rng.uniform(-0.2, 0.2), 0.0, 1.5))
        else:
            if np.linalg.norm(goal - tcp) < 0.005:
                goal = rng.uniform(box.low, box.high)
            tcp = tcp + np.clip(goal - tcp, -0.02, 0.02)
            gripper = float(np.clip(gripper + rng.choice([-0.2, 0.0, 0.2]), 0.0, 1.5))
        angles = kinematics.inverse(tcp, gripper)
        for _ in range(round(0.1 / PERIOD)):
            yield angles


@pytest.mark.parametrize(
    ("stiffness", "restless", "seconds"),
    [(SOFT, True, 60), (SOFT, False, 60), (STIFF, True, 60), (STIFF, False, 60)],
)
def test_mirroring_is_no_grab(stiffness: float, restless: bool, seconds: int) -> None:
    leader, follower = Mirrored(stiffness), wandering(int(stiffness), restless)
    largest = 0.0
    for _ in range(round(seconds / PERIOD)):
        assert not leader.period(next(follower)), f"{leader.now:.1f} s: {leader.detector.excess}"
        largest = max(largest, leader.detector.excess.max())
    print(f"stiffness {stiffness}, restless {restless}: largest excess {largest:.3f} rad")
    assert leader.mirroring.aligned


def detection(leader: Mirrored, follower: Callable[[], np.ndarray]) -> float:
    """Return the time until the grab is noticed [s]."""
    begun = leader.now
    while leader.now < begun + 1.0:
        if leader.period(follower()):
            return leader.now - begun
    return np.inf


def grabbed(leader: Mirrored, joint: int, direction: int, speed: float) -> None:
    """Move a joint away by hand, up to its limit."""
    angle = leader.plant.state(joint).position + direction * 0.3
    leader.plant.hold(joint, float(np.clip(angle, LOWEST[joint], HIGHEST[joint])), speed)


@pytest.mark.parametrize("stiffness", [SOFT, STIFF])
@pytest.mark.parametrize("joint", range(6))
@pytest.mark.parametrize("direction", [1, -1])
def test_a_hand_that_moves_a_joint_is_noticed(joint: int, direction: int, stiffness: float) -> None:
    leader = Mirrored(stiffness)
    for _ in range(100):
        leader.period(HOME)
    grabbed(leader, joint, direction, speed=0.5)
    assert detection(leader, lambda: HOME) <= 0.3, JOINTS[joint]


@pytest.mark.parametrize("stiffness", [SOFT, STIFF])
@pytest.mark.parametrize(("against", "speed"), [(True, 0.5), (False, 2.0)])
@pytest.mark.parametrize("seed", range(2))
def test_a_hand_is_noticed_while_the_follower_moves(
    seed: int, against: bool, speed: float, stiffness: float
) -> None:
    """A hand that goes along with the mirroring has to be faster than that to be noticed."""
    leader, path = Mirrored(stiffness), wandering(seed, restless=False)
    for _ in range(150):
        before = leader.mirroring.next(next(path), leader.now)
        leader.period(next(path))
    moved = leader.mirroring.next(next(path), leader.now) - before
    joint = int(np.abs(moved[:5]).argmax())
    grabbed(leader, joint, int(np.sign(moved[joint])) * (-1 if against else 1), speed)
    assert detection(leader, lambda: next(path)) <= 0.3, JOINTS[joint]


@pytest.mark.parametrize("stiffness", [SOFT, STIFF])
def test_a_hand_that_holds_a_joint_while_the_follower_moves_is_noticed(stiffness: float) -> None:
    leader = Mirrored(stiffness)
    for _ in range(100):
        leader.period(np.array(HOME))
    leader.plant.hold(0, leader.plant.state(0).position, speed=0.2)
    pan = [0.0]

    def follower() -> np.ndarray:
        pan[0] += 0.8 * PERIOD
        return HOME + np.array([pan[0], 0, 0, 0, 0, 0])

    assert detection(leader, follower) <= 0.3


def test_a_slow_hand_is_noticed_once_it_has_moved_far() -> None:
    leader = Mirrored()
    for _ in range(100):
        leader.period(np.array(HOME))
    start = leader.plant.state(0).position
    leader.plant.hold(0, start + 0.6, speed=0.09)
    while not leader.period(np.array(HOME)):
        assert leader.now < 10.0
    assert leader.plant.state(0).position - start < 0.25


def test_a_single_reading_is_no_grab() -> None:
    detector = GrabDetector()
    detector.sent(np.zeros(6), 0.0)
    assert not detector.update(np.full(6, 0.2), 0.02)
    assert not detector.update(np.zeros(6), 0.04)
    assert not detector.update(np.full(6, 0.2), 0.06)


def test_nothing_is_a_grab_before_the_first_goal() -> None:
    assert not GrabDetector().update(np.ones(6), 0.0)


def test_a_rule_out_of_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"grab.threshold must be a number from 0.01 to 0.5"):
        GrabRule(threshold=0.0)
