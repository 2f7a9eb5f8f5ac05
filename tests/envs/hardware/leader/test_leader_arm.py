"""Leader arm in real time: hands, bad cables and killed processes, never a jump."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from envs.hardware.arm.arm_link import ArmLink
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.bus.telemetry import RADIANS_PER_TICK
from envs.hardware.errors import NoAnswerError
from envs.hardware.leader import leader_arm
from envs.hardware.leader.leader_arm import LeaderArm
from envs.hardware.leader.leader_settings import LeaderSettings
from envs.hardware.leader.mirroring import Mirroring
from envs.hardware.letting_go.supervisor_client import Supervision
from envs.hardware.setup.arm_setup import CalibrationMismatchError
from envs.hardware.setup.calibration import Calibration
from envs.kinematics import Kinematics
from envs.virtual.line_faults import FaultRates
from envs.virtual.mujoco_plant import REST
from envs.virtual.virtual_hand import VirtualHand
from envs.virtual.virtual_servo import GoalEvent
from envs.virtual.virtual_so101 import VirtualArm, VirtualSO101
from tests.envs.hardware.arm_on_the_bench import (
    IDS,
    goals,
    largest_pull,
    largest_step,
    registers,
    watch_torque,
)
from tests.envs.hardware.leader.test_grabbing import wandering
from tests.envs.hardware.letting_go.test_supervisor import alive
from tests.patience import MARGIN, stretched, wait_until

pytestmark = pytest.mark.realtime

SETTINGS = LeaderSettings(grace=0.2, approach_speed=1.0, limp_time=0.3)
READY = np.add(REST, [0.0, 0.35, -0.35, -0.35, 0.0, 0.3])  # 9 cm above the table
TURNED = np.add(READY, [0.6, 0.0, 0.0, 0.0, 0.0, 0.0])
NEAR = 0.15 / RADIANS_PER_TICK  # how far a goal may be ahead of its joint [ticks]
STEP = 1.1 * 0.05 * SETTINGS.speed / RADIANS_PER_TICK  # how far ahead of the goal before [ticks]
STILL = 10  # what a limp arm sinks between its reading and its torque, at most [ticks]
SETTLING = 0.8  # after the arrival: it is no longer patient with the arm's weight [s]
ON, OFF = [1] * 6, [0] * 6
HELD, RAMP = 0.3, 0.5  # by the supervisor [s]
OVERHEAT = 4

CONTROL = """
import sys, time
from pathlib import Path
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.setup.calibration import read_calibration
from envs.hardware.leader.leader_arm import LeaderArm
from envs.hardware.leader.leader_settings import LeaderSettings
from envs.hardware.letting_go.supervisor_client import Supervision
from envs.kinematics import HOME, Kinematics

port, calibration = sys.argv[1], read_calibration(Path(sys.argv[2]), Kinematics().joint_limits)
supervision = Supervision(port, calibration.ids, silence=30, hold=0.3, ramp=0.5)
settings = LeaderSettings(grace=0.0, approach_speed=1.0)
bus = FeetechBus(port, margin=float(sys.argv[3]))
arm = LeaderArm(bus, calibration, settings, supervision=supervision)
arm.connect()
arm.mirror(HOME)
print(supervision.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[VirtualArm]:
    with VirtualSO101(tmp_path / "arms") as so101:
        yield so101.leader


def bus_of(leader: VirtualArm) -> FeetechBus:
    return FeetechBus(str(leader.link), margin=MARGIN)


def connected(
    leader: VirtualArm,
    settings: LeaderSettings = SETTINGS,
    supervision: Supervision | None = None,
) -> LeaderArm:
    arm = LeaderArm(bus_of(leader), leader.calibration, settings, supervision=supervision)
    arm.connect()
    return arm


@pytest.fixture
def arm(leader: VirtualArm) -> Iterator[LeaderArm]:
    with connected(leader) as arm:
        yield arm


@pytest.fixture
def supervised(leader: VirtualArm) -> Iterator[tuple[LeaderArm, Supervision]]:
    supervision = Supervision(str(leader.link), IDS, hold=HELD, ramp=RAMP)
    with connected(leader, supervision=supervision) as arm:
        yield arm, supervision


def mirrored(arm: LeaderArm, follower: np.ndarray = READY) -> None:
    """Mirror a resting follower until the arm has reached it."""
    arm.mirror(follower)
    wait_until(lambda: arm.aligned and bool(np.abs(arm.positions - follower).max() < 0.07))


def torque(leader: VirtualArm) -> list[int]:
    return registers(leader.port, "Torque_Enable")


def since(leader: VirtualArm, moment: float) -> list[GoalEvent]:
    """Return the goals that the servos received since a moment."""
    return [event for event in goals(leader.port) if event.time > moment]


def assert_without_a_jump(events: list[GoalEvent]) -> None:
    """Check that no goal is far from its joint and the first ones are where the joints are."""
    first: dict[int, GoalEvent] = {}
    for event in events:
        first.setdefault(event.servo_id, event)
    assert set(first) == set(IDS)
    assert largest_pull(first.values()) <= STILL
    assert largest_pull(events) <= NEAR and largest_step(events) <= STEP


def test_connect_makes_the_arm_limp_and_moves_nothing(leader: VirtualArm) -> None:
    servos = leader.port.chain.servos
    leader.port.call(lambda: [servo.set("Torque_Enable", 1) for servo in servos])
    log = watch_torque(leader.port)
    with connected(leader) as arm:
        assert torque(leader) == OFF and registers(leader.port, "Torque_Limit") == [1000] * 6
        assert min(limit for _, limit, on in log if on) < 200, "it sinks and does not fall"
        assert registers(leader.port, "P_Coefficient") == [16] * 6
        assert registers(leader.port, "D_Coefficient") == [16] * 6
        assert set(arm.firmware.values()) == {"3.10"} and len(arm.changes) == 18
        assert not arm.mirroring and not arm.grabbed and arm.fault == ""
        wait_until(lambda: np.allclose(arm.positions, VirtualHand(leader).joints, atol=0.01))
    assert goals(leader.port, torque=None) == []


def test_another_arms_calibration_is_refused_and_the_arm_left_alone(leader: VirtualArm) -> None:
    leader.port.call(lambda: [servo.set("Torque_Enable", 1) for servo in leader.port.chain.servos])
    motors = leader.calibration.motors
    other = replace(motors["elbow_flex"], homing_offset=100)
    wrong = Calibration({**motors, "elbow_flex": other}, Kinematics().joint_limits)
    with (
        LeaderArm(bus_of(leader), wrong, SETTINGS) as arm,
        pytest.raises(
            CalibrationMismatchError, match=r"elbow_flex \(motor 3\) has Homing_Offset 0"
        ),
    ):
        arm.connect()
    assert torque(leader) == ON and goals(leader.port, torque=None) == []


def test_a_failed_connect_leaves_nothing_energised(
    leader: VirtualArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NoAnswerError(str(leader.link), (2,), "WRITE Torque_Enable = 0", 3)

    monkeypatch.setattr(ArmLink, "ramp_down", fail)
    leader.port.call(lambda: [servo.set("Torque_Enable", 1) for servo in leader.port.chain.servos])
    with (
        pytest.raises(NoAnswerError),
        LeaderArm(bus_of(leader), leader.calibration, SETTINGS) as arm,
    ):
        arm.connect()
    assert torque(leader) == OFF


def test_it_moves_to_the_follower_and_follows_it(leader: VirtualArm, arm: LeaderArm) -> None:
    arm.mirror(READY)
    assert arm.mirroring and not arm.aligned
    wait_until(lambda: arm.aligned)
    assert np.abs(arm.positions - READY).max() < 0.15
    wait_until(lambda: bool(np.abs(arm.positions - READY).max() < 0.07))
    assert torque(leader) == ON and registers(leader.port, "Torque_Limit") == [600] * 6
    begun, seen = time.monotonic(), []
    while (passed := time.monotonic() - begun) < 3.0:
        follower = READY + 0.3 * np.sin(2.0 * passed) * np.array([1, 0, 0, 0, 0, -1])
        arm.mirror(follower)
        seen.append((arm.positions, follower))
        time.sleep(0.1)
    positions, followers = np.swapaxes(seen, 0, 1)
    assert np.abs(positions - followers).max() < 0.25
    assert (np.ptp(positions, axis=0)[[0, -1]] > 0.5).all()
    assert_without_a_jump(goals(leader.port))


def test_a_hand_is_noticed_and_leads_until_limp(leader: VirtualArm, arm: LeaderArm) -> None:
    mirrored(arm)
    time.sleep(SETTLING)
    begun = time.monotonic()
    leader.hold("wrist_flex", READY[3] - 0.4, speed=0.5)
    noticed = until_grabbed(arm, lambda: None)
    assert noticed - begun < stretched(0.3)
    wait_until(lambda: torque(leader) == OFF, 0.2)
    off = time.monotonic()
    while time.monotonic() < off + 0.5:
        arm.mirror(TURNED)
        assert arm.grabbed and not arm.mirroring and not arm.aligned
        time.sleep(0.02)
    assert torque(leader) == OFF and since(leader, off) == []
    arm.limp()
    assert not arm.grabbed
    leader.release("wrist_flex")
    mirrored(arm)
    assert torque(leader) == ON and not arm.grabbed


def until_grabbed(arm: LeaderArm, meanwhile: Callable[[], object]) -> float:
    """Mirror until somebody has grabbed the arm, and return the time of that."""
    end = time.monotonic() + stretched(3.0)
    while not arm.grabbed:
        assert time.monotonic() < end, "nobody was noticed"
        arm.mirror(READY)
        meanwhile()
        time.sleep(0.005)
    return time.monotonic()


def test_a_persons_hand_is_noticed(leader: VirtualArm, arm: LeaderArm) -> None:
    hand = VirtualHand(leader)
    for way in ([0.0, 0.0, 0.05], [-0.04, 0.0, 0.04]):
        mirrored(arm)
        hand.grab()
        time.sleep(SETTLING)
        assert not arm.grabbed, "a hand that only rests there"
        before, moved = hand.joints, [np.inf]

        def lead(before: np.ndarray = before, moved: list[float] = moved) -> None:
            hand.step()
            if np.abs(hand.joints - before).max() > 0.02:  # its smooth start is over
                moved[0] = min(moved[0], time.monotonic())

        hand.aim(hand.tcp + np.array(way), speed=0.3)
        assert until_grabbed(arm, lead) - moved[0] < stretched(0.3)
        wait_until(lambda: torque(leader) == OFF, 0.2)
        hand.let_go()
        arm.limp()


def test_a_wandering_follower_is_no_grab(leader: VirtualArm, arm: LeaderArm) -> None:
    wander(arm, 10.0, wandering(1, restless=False))
    assert arm.fault == "" and arm.aligned
    assert_without_a_jump(goals(leader.port))


def wander(arm: LeaderArm, seconds: float, way: Iterator[np.ndarray]) -> list[tuple[float, str]]:
    """Mirror a wandering follower, and return the faults with their times."""
    faults, begun = [], time.monotonic()
    for step in range(round(seconds / 0.02)):
        arm.mirror(next(way))
        assert not arm.grabbed
        if arm.fault:
            faults.append((time.monotonic(), arm.fault))
        time.sleep(max(0.0, begun + 0.02 * step - time.monotonic()))
    return faults


def test_a_bad_cable_is_no_grab_and_no_loss(leader: VirtualArm) -> None:
    # A margin for a busy machine would leave the arm unseen for longer than a real cable does.
    bus = FeetechBus(str(leader.link), margin=0.05)
    with LeaderArm(bus, leader.calibration, SETTINGS) as arm:
        arm.connect()
        leader.port.disturb(FaultRates(lost=0.01, corrupted=0.01), seed=1)
        follower = wandering(1, restless=False)

        def many_faults() -> bool:
            faults = wander(arm, 1.0, follower)
            assert len(faults) < 50, "none stays for a second"
            counts = leader.port.faults()
            return counts["lost"] > 5 and counts["corrupted"] > 5

        wait_until(many_faults)
        leader.port.disturb(FaultRates())
        mirrored(arm)
        assert arm.fault == "" and largest_pull(goals(leader.port)) <= NEAR


def test_limp_fades_and_mirroring_starts_again(leader: VirtualArm, arm: LeaderArm) -> None:
    log = watch_torque(leader.port)
    for _ in range(2):
        mirrored(arm)
        assert torque(leader) == ON and not arm.grabbed and arm.fault == ""
        log.clear()
        arm.limp()
        asked = time.monotonic()
        assert not arm.mirroring and not arm.aligned
        wait_until(lambda: torque(leader) == OFF)
        wait_until(lambda: registers(leader.port, "Torque_Limit") == [1000] * 6)
        limits = [limit for _, limit, on in log if on and limit <= 600]
        assert limits == sorted(limits, reverse=True) and limits[-1] < 150
        assert max(before - after for before, after in pairwise(limits)) < 300
        off = next(at for at, _, on in log if not on)
        assert off - asked == pytest.approx(SETTINGS.limp_time, abs=stretched(0.2))
    assert largest_pull(goals(leader.port)) <= NEAR


def test_a_motor_with_a_lower_torque_limit_fades_from_that(leader: VirtualArm) -> None:
    leader.port.call(lambda: leader.port.chain.servo(2).set("Max_Torque_Limit", 500))
    with connected(leader) as arm:
        log = watch_torque(leader.port)  # of motor 2
        mirrored(arm)
        arm.limp()
        wait_until(lambda: torque(leader) == OFF)
    limits = [limit for _, limit, on in log if on]
    assert max(limits) == 500 * SETTINGS.torque and min(limits) < 100


def test_mirroring_a_sinking_arm_is_no_grab(leader: VirtualArm, arm: LeaderArm) -> None:
    for seconds in (0.0, 0.04):
        mirrored(arm)
        arm.limp()
        wait_until(lambda: torque(leader) == OFF)
        time.sleep(seconds)
        arm.mirror(READY)
        begun = time.monotonic()
        while time.monotonic() < begun + 0.5:
            assert not arm.grabbed
            time.sleep(0.005)


def test_limp_followed_by_mirror_starts_the_approach_again(arm: LeaderArm) -> None:
    """The case of an episode that begins right after another."""
    mirrored(arm)
    for _ in range(3):
        arm.limp()
        arm.mirror(READY)
        begun = time.monotonic()
        while time.monotonic() < begun + SETTINGS.grace / 2:
            assert not arm.aligned, "it has to come to the follower again"
            time.sleep(0.005)
        mirrored(arm)


def test_missing_answers_make_it_wait(leader: VirtualArm) -> None:
    with connected(leader, replace(SETTINGS, patience=3.0)) as arm:
        mirrored(arm)
        leader.port.disturb(FaultRates(lost=1.0))
        begun = time.monotonic()
        arm.mirror(TURNED)
        time.sleep(1.0)
        ended = time.monotonic()
        leader.port.disturb(FaultRates())
        assert [event for event in since(leader, begun + 0.1) if event.time < ended] == []
        assert arm.fault == ""
        mirrored(arm, TURNED)
        assert not arm.grabbed and torque(leader) == ON
        assert_without_a_jump(goals(leader.port))


def test_silent_motors_go_limp_and_are_configured_again(leader: VirtualArm, arm: LeaderArm) -> None:
    """The case of a failed power supply: the port stays there all the time."""
    mirrored(arm)
    log = watch_torque(leader.port)
    leader.port.disturb(FaultRates(lost=1.0))
    wait_until(lambda: str(leader.link) in arm.fault)
    assert not arm.aligned
    wait_until(lambda: torque(leader) == OFF)
    assert min(limit for _, limit, on in log if on) < 450, "it fades"
    off = time.monotonic()
    leader.port.call(lambda: [servo.power_cycle() for servo in leader.port.chain.servos])
    leader.port.disturb(FaultRates())
    wait_until(lambda: arm.fault == "")
    assert registers(leader.port, "Acceleration") == [254] * 6
    assert not arm.mirroring and not arm.grabbed and since(leader, off) == []
    mirrored(arm)
    assert_without_a_jump(since(leader, off))


def test_one_silent_motor_leaves_no_other_energised(leader: VirtualArm, arm: LeaderArm) -> None:
    mirrored(arm)
    wrist = leader.port.chain.servo(4)
    leader.port.call(lambda: wrist.set("ID", 40))
    wait_until(lambda: "wrist_flex" in arm.fault)
    wait_until(lambda: torque(leader) == [0, 0, 0, 1, 0, 0])
    leader.port.call(lambda: wrist.set("ID", 4))
    wait_until(lambda: torque(leader) == OFF)
    wait_until(lambda: arm.fault == "")


def test_a_servo_that_protects_itself_is_no_grab(leader: VirtualArm, arm: LeaderArm) -> None:
    mirrored(arm)
    leader.port.call(lambda: setattr(leader.port.chain.servo(3), "injected_error", OVERHEAT))
    wait_until(lambda: "elbow_flex reports overheat" in arm.fault and str(leader.link) in arm.fault)
    wait_until(lambda: torque(leader) == OFF)
    assert not arm.grabbed and not arm.aligned
    arm.limp()
    wait_until(lambda: arm.fault == "")  # a hand can lead such an arm
    leader.port.call(lambda: setattr(leader.port.chain.servo(3), "injected_error", 0))
    mirrored(arm)
    assert not arm.grabbed


def test_a_pulled_cable_is_a_fault_until_it_is_back(leader: VirtualArm, arm: LeaderArm) -> None:
    mirrored(arm)
    leader.port.unplug()
    wait_until(lambda: str(leader.link) in arm.fault)
    arm.mirror(TURNED)
    time.sleep(0.6)
    assert not arm.aligned and not arm.grabbed and np.isfinite(arm.positions).all()
    assert torque(leader) == ON
    plugged = time.monotonic()
    leader.port.plug()
    wait_until(lambda: arm.fault == "")
    assert torque(leader) == OFF and not arm.mirroring
    time.sleep(0.2)
    assert torque(leader) == OFF and since(leader, plugged) == []
    mirrored(arm, TURNED)
    assert_without_a_jump(since(leader, plugged))


def test_close_releases_the_arm_and_stops_the_supervisor(
    leader: VirtualArm, supervised: tuple[LeaderArm, Supervision]
) -> None:
    arm, supervision = supervised
    mirrored(arm)
    log = watch_torque(leader.port)
    arm.close()
    assert torque(leader) == OFF and not alive(supervision.pid)
    assert min(limit for _, limit, on in log if on) < 150, "it fades"
    with bus_of(leader) as bus:
        assert bus.ping(1) == 777
        arm.close()
        assert bus.ping(1) == 777
    assert "leader" not in {thread.name for thread in threading.enumerate()}


def test_an_unreachable_arm_is_left_to_the_supervisor(
    leader: VirtualArm, supervised: tuple[LeaderArm, Supervision]
) -> None:
    arm, supervision = supervised
    mirrored(arm)
    leader.port.unplug()
    arm.close()
    assert torque(leader) == ON
    plugged = time.monotonic()
    leader.port.plug()
    wait_until(lambda: torque(leader) == OFF)
    wait_until(lambda: not alive(supervision.pid))
    assert largest_pull(since(leader, plugged)) <= STILL


def test_a_hanging_thread_does_not_keep_the_arm_energised(
    leader: VirtualArm,
    supervised: tuple[LeaderArm, Supervision],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arm, supervision = supervised
    mirrored(arm)
    hangs, resumed = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        hangs.set()
        resumed.wait(30)

    monkeypatch.setattr(leader_arm, "_THREAD_ENDS_IN", 0.2)
    monkeypatch.setattr(ArmLink, "send", hang)
    hangs.wait(10)
    arm.close()
    resumed.set()
    wait_until(lambda: torque(leader) == OFF)
    wait_until(lambda: not alive(supervision.pid))


def test_after_sigkill_the_supervisor_makes_it_limp_in_time(leader: VirtualArm) -> None:
    arguments = [str(leader.link), str(leader.calibration_file), str(MARGIN)]
    command = [sys.executable, "-c", CONTROL, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as control:
        assert control.stdout is not None
        supervisor = int(control.stdout.readline())
        wait_until(lambda: torque(leader) == ON)
        time.sleep(0.6)
        log = watch_torque(leader.port)
        control.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        control.wait(10)
    wait_until(lambda: torque(leader) == OFF)
    wait_until(lambda: not alive(supervisor))
    off = next(at for at, _, on in log if not on)
    assert HELD + RAMP - 0.1 < off - killed < HELD + RAMP + stretched(1.0)
    hold = since(leader, killed - 0.05)[-6:]
    assert {event.servo_id for event in hold} == set(IDS) and largest_pull(hold) <= STILL
    assert_without_a_jump(goals(leader.port))


@pytest.mark.parametrize("angles", [np.full(6, np.nan), np.zeros(5), np.zeros((6, 1)), np.inf])
def test_invalid_angles_are_refused(arm: LeaderArm, angles: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must be 6 finite numbers"):
        arm.mirror(angles)
    assert not arm.mirroring


def everything(arm: LeaderArm) -> list[Callable[[], object]]:
    """Return a call of every property and method of the arm."""
    asked = [lambda name=name: getattr(arm, name) for name in ("positions", "grabbed", "aligned")]
    asked += [lambda name=name: getattr(arm, name) for name in ("mirroring", "fault")]
    return [*asked, lambda: arm.mirror(READY), arm.limp]


def test_a_defect_of_the_thread_is_raised_and_releases_the_arm(
    leader: VirtualArm, arm: LeaderArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored(arm)
    monkeypatch.setattr(Mirroring, "next", lambda *_: 1 / 0)
    thread = next(each for each in threading.enumerate() if each.name == "leader")
    thread.join(10)
    assert torque(leader) == OFF
    for ask in everything(arm):
        with pytest.raises(RuntimeError, match="thread has failed") as caught:
            ask()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    arm.close()
    assert torque(leader) == OFF
    with bus_of(leader) as bus:
        assert bus.ping(1) == 777


def test_losing_the_supervisor_releases_the_arm(
    leader: VirtualArm, supervised: tuple[LeaderArm, Supervision]
) -> None:
    arm, supervision = supervised
    mirrored(arm)
    os.kill(supervision.pid, signal.SIGKILL)
    wait_until(lambda: torque(leader) == OFF)
    with pytest.raises(RuntimeError, match="supervisor"):
        arm.mirror(READY)
