"""Physical follower with virtual servos on a pseudo-terminal."""

import dataclasses
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from envs.hardware.arm.arm_link import ArmUnreadableError
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.bus.telemetry import Telemetry
from envs.hardware.errors import PortLostError
from envs.hardware.feetech_arm import ArmSettings, FeetechArm, TorqueOffError
from envs.hardware.letting_go.letting_go import LettingGo, NotArrivedError
from envs.hardware.setup import arm_setup
from envs.hardware.setup.arm_setup import ArmSetupError, CalibrationMismatchError
from envs.kinematics import HOME, JOINTS
from envs.safety import SafetyLimits
from envs.virtual.line_faults import FaultRates
from envs.virtual.plant import KinematicPlant
from envs.virtual.virtual_port import VirtualPort
from envs.workspace import Workspace
from tests.envs.hardware.arm_on_the_bench import (
    IDS,
    LIMITS,
    calibration,
    encoders,
    follower,
    goals,
    largest_pull,
    largest_step,
    registers,
)
from tests.patience import MARGIN, stretched

pytestmark = pytest.mark.realtime

QUICK = LettingGo(ramp_time=0.2)


@pytest.fixture
def bench() -> Iterator[tuple[VirtualPort, KinematicPlant]]:
    chain, plant = follower()
    with VirtualPort(chain) as port:
        yield port, plant


@pytest.fixture
def port(bench: tuple[VirtualPort, KinematicPlant]) -> VirtualPort:
    return bench[0]


@pytest.fixture
def plant(bench: tuple[VirtualPort, KinematicPlant]) -> KinematicPlant:
    return bench[1]


def arm_at(port: VirtualPort, limits: SafetyLimits | None = None, **settings: object) -> FeetechArm:
    settings = {"control_hz": 20.0, "letting_go": QUICK, **settings}
    bus = FeetechBus(port.path, margin=MARGIN)
    return FeetechArm(bus, calibration(), limits, ArmSettings(**settings))


@pytest.fixture
def arm(port: VirtualPort) -> Iterator[FeetechArm]:
    arm = arm_at(port)
    yield arm
    arm.close()


def moved(**by: float) -> np.ndarray:
    return HOME + [by.get(joint, 0.0) for joint in JOINTS]


def test_connect_configures_the_motors_and_moves_nothing(
    arm: FeetechArm, port: VirtualPort
) -> None:
    port.call(lambda: port.chain.servo(2).set("Phase", 12 | 0x10))
    arm.connect()
    assert arm.firmware == dict.fromkeys(JOINTS, "3.10")
    expected = {
        "Return_Delay_Time": [0] * 6,
        "P_Coefficient": [16] * 6,
        "I_Coefficient": [0] * 6,
        "D_Coefficient": [32] * 6,
        "Operating_Mode": [0] * 6,
        "Phase": [12] * 6,
        "Acceleration": [254] * 6,
        "Max_Torque_Limit": [1000] * 5 + [500],
        "Protection_Current": [500] * 5 + [250],
        "Overload_Torque": [80] * 5 + [25],
    }
    assert {name: registers(port, name) for name in expected} == expected
    assert registers(port, "Lock") == [1] * 6 and not arm.torque
    assert goals(port, torque=None) == [] and registers(port, "Torque_Enable") == [0] * 6
    assert "shoulder_lift (motor 2): Phase 28 -> 12" in arm.changes


def test_eeprom_is_written_only_where_it_differs(arm: FeetechArm, port: VirtualPort) -> None:
    arm.connect()
    assert arm.changes
    arm.connect()
    assert arm.changes == []
    port.call(lambda: port.chain.servo(4).set("P_Coefficient", 32))
    arm.connect()
    assert arm.changes == ["wrist_flex (motor 4): P_Coefficient 32 -> 16"]


def test_missing_joints_are_named(arm: FeetechArm, port: VirtualPort) -> None:
    port.call(lambda: port.chain.servo(3).set("ID", 30))
    port.call(lambda: port.chain.servo(6).set("ID", 60))
    with pytest.raises(ArmSetupError, match=r"elbow_flex \(motor 3\), gripper \(motor 6\) missing"):
        arm.connect()


def test_a_motor_of_another_model_is_named(arm: FeetechArm, port: VirtualPort) -> None:
    port.call(lambda: port.chain.servo(5).set("Model_Number", 1545))
    with pytest.raises(ArmSetupError, match=r"wrist_roll \(motor 5\) is model 1545.*777"):
        arm.connect()


@pytest.mark.parametrize("name", ["Homing_Offset", "Min_Position_Limit", "Max_Position_Limit"])
def test_a_calibration_of_another_arm_is_refused(
    arm: FeetechArm, port: VirtualPort, name: str
) -> None:
    port.call(lambda: port.chain.servo(2).set(name, 77))
    with pytest.raises(CalibrationMismatchError, match=rf"shoulder_lift \(motor 2\) has {name} 77"):
        arm.connect()
    assert goals(port, torque=None) == []


def test_a_calibration_can_be_written_with_the_torque_off(port: VirtualPort) -> None:
    port.call(lambda: port.chain.servo(2).set("Homing_Offset", 77))
    with FeetechBus(port.path, margin=MARGIN) as bus:
        bus.write(1, "Torque_Enable", 1)
        with pytest.raises(ArmSetupError, match=r"shoulder_pan \(motor 1\) under torque"):
            arm_setup.write_calibration(bus, calibration())
        bus.write(1, "Torque_Enable", 0)
        arm_setup.write_calibration(bus, calibration())
        arm_setup.check_calibration(bus, calibration())
        assert registers(port, "Lock")[1] == 1


def test_a_motor_that_would_move_by_its_new_mode_is_left_alone(
    arm: FeetechArm, port: VirtualPort
) -> None:
    port.call(lambda: port.chain.servo(3).set("Operating_Mode", 1))
    port.call(lambda: port.chain.servo(3).set("Torque_Enable", 1))
    with pytest.raises(ArmSetupError, match=r"Operating_Mode of elbow_flex \(motor 3\)"):
        arm.connect()
    assert registers(port, "Operating_Mode")[2] == 1


def test_torque_on_does_not_jump_whatever_the_old_goals(arm: FeetechArm, port: VirtualPort) -> None:
    arm.connect()
    port.call(lambda: [servo.set("Goal_Position", 1000) for servo in port.chain.servos])
    port.call(lambda: [servo.set("Torque_Limit", 0) for servo in port.chain.servos])
    arm.torque_on()
    assert largest_pull(goals(port)) == 0 and {e.servo_id for e in goals(port)} == set(IDS)
    assert registers(port, "Torque_Limit") == [1000] * 5 + [500]
    np.testing.assert_allclose(arm.read().positions, HOME, atol=0.002)


def test_an_arm_found_energised_is_held_where_it_is(port: VirtualPort) -> None:
    port.call(lambda: [servo.set("Torque_Enable", 1) for servo in port.chain.servos])
    arm = arm_at(port)
    arm.connect()
    assert arm.torque and registers(port, "Torque_Enable") == [1] * 6
    assert largest_pull(goals(port)) <= 2
    arm.close()
    assert registers(port, "Torque_Enable") == [0] * 6


def test_readings_have_the_directions_and_units_of_the_joints(
    port: VirtualPort, plant: KinematicPlant
) -> None:
    bus = FeetechBus(port.path, margin=MARGIN)
    arm = FeetechArm(bus, calibration(shoulder_pan=True))
    port.call(lambda: plant.move(0, 0.5))
    port.call(lambda: port.chain.servo(2).set("Phase", 12 | 0x20))
    port.call(lambda: [plant.block(joint) for joint in (0, 1, 2)])
    bus.sync_write("Goal_Position", {1: 2900, 2: 2900, 3: 2900})
    bus.sync_write("Torque_Enable", {1: 1, 2: 1, 3: 1})
    time.sleep(0.05)
    reading = arm.read_telemetry()
    state = arm.read()
    assert reading.positions[0] == pytest.approx(-0.5, abs=0.002)
    np.testing.assert_allclose(state.currents[:3], [-2.7, 0, 2.7], atol=0.004)
    np.testing.assert_allclose(reading.loads[:3], [-1, 1, 1])
    assert reading.has_current.tolist() == [True, False, True, True, True, True]
    np.testing.assert_allclose(reading.voltages, 12)
    np.testing.assert_allclose(reading.temperatures, 30)
    assert 0 <= time.monotonic() - reading.time < stretched(0.5)
    bus.close()


def test_a_reset_is_slow_and_arrives(arm: FeetechArm, port: VirtualPort) -> None:
    arm.connect()
    start = time.monotonic()
    target = moved(shoulder_pan=0.3, wrist_flex=-0.1, gripper=-0.2)
    arm.reset(target)
    assert time.monotonic() - start > 0.3 / arm.settings.reset_speed
    np.testing.assert_allclose(arm.read().positions, target, atol=0.1)
    ticks_per_goal = arm.settings.reset_speed / 20 * 4096 / 6.28
    assert 0 < largest_step(goals(port)) <= ticks_per_goal + 2
    assert largest_pull(goals(port)) < 80, "no goal is far from its joint"


def test_a_blocked_way_is_an_error_with_the_joint(
    arm: FeetechArm, port: VirtualPort, plant: KinematicPlant
) -> None:
    arm.connect()
    port.call(lambda: plant.block(0))
    with pytest.raises(NotArrivedError, match=r"shoulder_pan stays 0\.[45]\d rad from its target"):
        arm.reset(moved(shoulder_pan=0.5))


def test_a_command_is_a_ramp_that_ends_with_the_period(port: VirtualPort) -> None:
    arm = arm_at(port, control_hz=5.0)
    arm.connect()
    arm.torque_on()
    arm.command(HOME)
    arm.command(HOME)
    before = len(goals(port))
    start = time.monotonic()
    arm.command(moved(shoulder_pan=0.5))
    assert time.monotonic() - start == pytest.approx(0.2, abs=stretched(0.05))
    pan = [e.goal for e in goals(port)[before:] if e.servo_id == 1]
    steps = np.diff(pan)
    assert len(pan) >= 6 and pan[-1] > pan[0] and (steps >= 0).all()
    assert steps.max() <= 3 * (pan[-1] - 2047) / 10 + 2, "evenly, but for a busy machine"
    arm.close()


def test_no_goal_leaves_the_limits(port: VirtualPort) -> None:
    limits = SafetyLimits(joints={"shoulder_pan": (-0.2, 0.2)}, first_speed=2.0)
    arm = arm_at(port, limits, control_hz=30.0)
    arm.connect()
    arm.torque_on()
    rng = np.random.default_rng(0)
    for _ in range(40):
        arm.command(rng.uniform(*LIMITS))
    pan = [event.goal for event in goals(port) if event.servo_id == 1]
    assert np.abs(np.array(pan) - 2047).max() <= 0.2 * 4096 / 6.283 + 1
    assert largest_step(goals(port)) <= limits.max_speed / 30 * 4096 / 6.283 * 3
    arm.close()


def test_lost_and_damaged_packets_do_not_end_a_run(port: VirtualPort) -> None:
    arm = arm_at(port, control_hz=30.0)
    arm.connect()
    arm.reset(HOME)
    before = len(goals(port))
    port.disturb(FaultRates(lost=0.01, truncated=0.01, corrupted=0.02), seed=5)
    for step in range(90):
        arm.command(moved(shoulder_pan=0.2 * np.sin(step / 10)))
        arm.read()
    port.disturb(FaultRates())
    assert len(goals(port)) > before
    assert largest_step(goals(port)[before:]) < 60 and largest_pull(goals(port)[before:]) < 80
    assert arm.torque
    arm.close()


def test_a_dead_motor_holds_the_arm_and_then_ends_the_run_with_its_joint(port: VirtualPort) -> None:
    arm = arm_at(port, patience=24 * MARGIN)  # longer than two failed readings
    arm.connect()
    arm.reset(HOME)
    port.call(lambda: port.chain.servo(4).set("ID", 40))
    arm.read()
    time.sleep(0.35)
    arm.command(moved(shoulder_pan=0.5))
    assert "old" in arm.held, "the safety layer holds on an old reading"
    before = len(goals(port))
    with pytest.raises(ArmUnreadableError, match=r"wrist_flex: no valid answer from motor 4"):
        for _ in range(20):
            arm.command(moved(shoulder_pan=0.5))
    assert len(goals(port)) == before and arm.link.failed_readings > 1
    port.call(lambda: port.chain.servo(40).set("ID", 4))
    arm.close()
    assert registers(port, "Torque_Enable") == [0] * 6


@pytest.mark.parametrize("on_return", ["hold", "release"])
def test_after_a_pulled_cable_the_state_is_read_first(
    port: VirtualPort, plant: KinematicPlant, on_return: str
) -> None:
    arm = arm_at(port, on_return=on_return)
    arm.connect()
    arm.reset(HOME)
    port.unplug()
    for _ in range(2):
        with pytest.raises(PortLostError, match=port.path):
            arm.command(moved(shoulder_pan=0.1))
    with pytest.raises(PortLostError, match=port.path):
        arm.read()
    # Its supply fails for a moment, and somebody pushes it meanwhile.
    port.call(lambda: port.chain.servo(1).set("Torque_Enable", 0))
    port.call(lambda: plant.move(0, 0.4))
    time.sleep(0.05)
    before = len(goals(port, torque=None))
    port.plug()
    state = arm.read()
    assert state.positions[0] == pytest.approx(0.4, abs=0.01)
    first = goals(port, torque=None)[before:]
    held = on_return == "hold"
    assert arm.torque is held and registers(port, "Torque_Enable") == [int(held)] * 6
    if held:
        assert largest_pull(first) <= 3
        arm.command(moved(shoulder_pan=0.4))
        assert largest_pull(goals(port)[-6:]) < 30
    else:
        assert first == []
        with pytest.raises(TorqueOffError, match="its port was lost"):
            arm.command(HOME)
    arm.close()
    assert registers(port, "Torque_Enable") == [0] * 6


def test_a_damaged_reading_after_a_pulled_cable_is_not_believed(
    port: VirtualPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so long a time any reading is plausible, so that it has to be confirmed."""
    bus = FeetechBus(port.path, margin=MARGIN)
    arm = FeetechArm(bus, calibration(), settings=ArmSettings(letting_go=QUICK))
    arm.connect()
    arm.reset(HOME)
    port.unplug()
    with pytest.raises(PortLostError, match=port.path):
        arm.read()
    time.sleep(0.2)
    port.plug()
    read, damaged = bus.read_telemetry, iter([300])

    def read_damaged(servo_ids: Sequence[int]) -> Telemetry:
        telemetry, error = read(servo_ids), next(damaged, 0)
        first = dict(telemetry.registers[0])
        first["Present_Position"] += error
        return dataclasses.replace(
            telemetry,
            registers=(first, *telemetry.registers[1:]),
            position_ticks=telemetry.position_ticks + np.eye(6, dtype=int)[0] * error,
        )

    monkeypatch.setattr(bus, "read_telemetry", read_damaged)
    state = arm.read()
    assert state.positions[0] == pytest.approx(0, abs=0.01) and next(damaged, None) is None
    assert largest_pull(goals(port)[-12:]) <= 3
    arm.close()


def test_a_servo_that_reports_an_error_stops_the_arm(arm: FeetechArm, port: VirtualPort) -> None:
    arm.connect()
    arm.reset(HOME)
    port.call(lambda: setattr(port.chain.servo(3), "injected_error", 32))
    arm.read()
    before = len(goals(port))
    for _ in range(5):
        arm.command(moved(shoulder_pan=0.3))
    assert arm.held == "elbow_flex reports overload" and len(goals(port)) == before
    port.call(lambda: setattr(port.chain.servo(3), "injected_error", 0))
    arm.acknowledge()
    for _ in range(10):
        arm.command(moved(shoulder_pan=0.3))
    assert arm.held == "" and len(goals(port)) > before


def test_a_hot_motor_releases_the_arm_if_the_limits_say_so(port: VirtualPort) -> None:
    arm = arm_at(port, SafetyLimits(on_temperature="release", fault_time=0.1))
    arm.connect()
    arm.reset(HOME)
    port.call(lambda: port.chain.servo(2).set("Present_Temperature", 65))
    with pytest.raises(TorqueOffError, match="shoulder_lift is at 65 °C"):
        for _ in range(10):
            arm.command(HOME)
    assert registers(port, "Torque_Enable") == [0] * 6
    arm.acknowledge()
    assert registers(port, "Torque_Enable") == [0] * 6, "that alone does not switch it on"
    arm.close()


def test_a_gripper_that_presses_too_hard_is_loosened_while_the_arm_is_only_read(
    port: VirtualPort, plant: KinematicPlant
) -> None:
    arm = arm_at(port, SafetyLimits(grip_time=0.2))
    arm.connect()
    arm.reset(HOME)
    port.call(lambda: plant.block(5))
    for _ in range(8):
        arm.command(moved(gripper=-0.3))
    pressing = registers(port, "Goal_Position")[5]
    for _ in range(12):
        arm.read()
        time.sleep(0.05)
    present = registers(port, "Present_Position")[5]
    assert abs(registers(port, "Goal_Position")[5] - present) < abs(pressing - present)
    arm.close()


def test_encoders_of_the_bench_match_the_calibration() -> None:
    np.testing.assert_allclose(encoders(HOME)[:5], HOME[:5], atol=0.001)


def test_the_arm_uses_the_workspace_of_the_limits(port: VirtualPort) -> None:
    arm = arm_at(port, SafetyLimits(workspace=Workspace(y=(-0.05, 0.05))))
    arm.connect()
    arm.torque_on()
    for _ in range(20):
        arm.command(moved(shoulder_pan=1.0))
    assert "workspace" in arm.limited
    arm.close()


def test_a_command_uses_a_reading_of_at_most_half_a_period(
    arm: FeetechArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm.connect()
    arm.reset(HOME)
    readings = []
    read = arm.link.read
    monkeypatch.setattr(arm.link, "read", lambda: readings.append(time.monotonic()) or read())
    arm.read()
    arm.command(HOME)
    assert len(readings) == 1, "the environment has just read it"
    arm.command(HOME)
    assert len(readings) == 2, "the last reading is a period old"
