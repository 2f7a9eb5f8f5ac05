"""Safety layer: faults of servos and unusable readings."""

import numpy as np
import pytest

from envs.kinematics import HOME
from envs.safety import SafetyLayer, Verdict
from tests.envs.safety_cases import Arm, at, moved, reading

FAULTS = {
    "temperature": ("temperatures", 60.0, 60.1, 35.0),
    "voltage": ("voltages", 4.5, 4.4, 7.4),
    "voltage, high": ("voltages", 13.0, 13.1, 7.4),
    "load": ("loads", -0.9, -0.91, 0.0),
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("reaction", ["hold", "release"])
def test_a_servo_out_of_its_limits_stops_the_arm_until_it_is_acknowledged(kind, reaction):
    name, edge, beyond, sound = FAULTS[kind]
    arm = Arm(fault_time=0.45, **{f"on_{kind.split(',')[0]}": reaction})
    arm.settle()
    for _ in range(20):
        assert arm.decide(HOME, **{name: at("elbow_flex", edge, sound)}).verdict == "send"
    bad = {name: at("elbow_flex", beyond, sound)}
    verdicts = [arm.decide(HOME, **bad).verdict for _ in range(7)]
    assert verdicts == ["send"] * 5 + [reaction] * 2
    for decision in (arm.decide(HOME + 0.1), arm.watch()):
        assert decision.verdict == reaction  # it is sound again, but nobody has looked
        assert "elbow_flex" in decision.reason
        if reaction == "hold":
            np.testing.assert_array_equal(decision.targets, HOME)
        else:
            assert decision.targets is None
    arm.layer.acknowledge()
    assert arm.settle().verdict == "send"


def test_after_an_acknowledgement_there_is_time_to_end_the_fault():
    arm = Arm(fault_time=0.45)
    loaded = {"loads": at("elbow_flex", 1.0, 0)}
    for _ in range(2):
        verdicts = [arm.decide(HOME, **loaded).verdict for _ in range(6)]
        assert verdicts == ["send"] * 5 + ["hold"]
        arm.layer.acknowledge()


@pytest.mark.parametrize("kind", FAULTS)
def test_one_bad_reading_of_a_servo_is_not_a_fault(kind):
    name, _, beyond, sound = FAULTS[kind]
    arm = Arm()
    arm.settle()
    for _ in range(5):
        assert arm.decide(HOME, **{name: at("gripper", beyond, sound)}).verdict == "send"
        assert arm.decide(HOME).verdict == "send"


def test_a_release_overrides_a_hold():
    arm = Arm(on_temperature="release", fault_time=0.0)
    assert arm.decide(HOME, loads=at("gripper", 1.0, 0)).verdict == "hold"
    hot = at("wrist_roll", 70, 35)
    decision = arm.decide(HOME, loads=at("gripper", 1.0, 0), temperatures=hot)
    assert decision.verdict == "release"
    assert "wrist_roll" in decision.reason


def test_after_a_release_it_starts_from_where_the_arm_fell():
    arm = Arm(on_load="release", fault_time=0.0)
    arm.settle()
    assert arm.decide(HOME, loads=at("elbow_flex", 1.0, 0)).verdict == "release"
    arm.positions = moved(HOME, shoulder_lift=0.1, elbow_flex=0.1)
    fallen = arm.positions.copy()
    arm.layer.acknowledge()
    np.testing.assert_array_equal(arm.decide(HOME).targets, fallen)


def test_after_a_hold_the_grip_is_kept():
    arm = Arm(fault_time=0.0)
    held = np.array([*HOME[:5], 0.0])
    arm.settle(held)
    arm.decide(held, loads=at("elbow_flex", 1.0, 0))
    arm.layer.acknowledge()
    arm.positions = np.array([*HOME[:5], 0.1])  # what is between the jaws
    assert arm.decide(held).targets[-1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_target_that_is_not_finite_is_refused_by_name(bad):
    arm = Arm()
    arm.settle()
    decision = arm.decide(at("wrist_flex", bad, 0.0))
    assert decision.verdict is Verdict.HOLD
    assert "wrist_flex" in decision.reason
    np.testing.assert_array_equal(decision.targets, HOME)


def test_targets_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match=r"shape \(6,\), got shape \(4,\)"):
        SafetyLayer().decide(np.zeros(4), reading(0.0), 0.0)
    with pytest.raises(ValueError, match=r"reading's loads must have shape \(6,\)"):
        reading(0.0, loads=np.zeros(5))


@pytest.mark.parametrize(
    ("readings", "named"),
    [
        ({"currents": at("gripper", np.nan, 0)}, "gripper reads currents"),
        ({"positions": at("elbow_flex", np.inf, 0)}, "elbow_flex reads positions"),
        ({"positions": moved(HOME, wrist_roll=3.1)}, "wrist_roll reads 3.10 rad"),
        ({"velocities": at("shoulder_pan", -10.1, 0)}, "shoulder_pan reads -10.1 rad/s"),
    ],
)
def test_impossible_readings_hold_the_arm_while_they_last(readings, named):
    layer = SafetyLayer()
    layer.decide(HOME, reading(0.0), 0.0)
    for decision in (
        layer.decide(HOME, reading(0.1, **readings), 0.1),
        layer.watch(reading(0.1, **readings), 0.1),
    ):
        assert decision.verdict is Verdict.HOLD
        assert named in decision.reason
    assert layer.decide(HOME, reading(0.2), 0.2).verdict is Verdict.SEND


def test_stale_readings_hold_the_arm():
    layer = SafetyLayer()
    assert layer.decide(HOME, None, 0.0).verdict is Verdict.HOLD
    assert layer.decide(HOME, None, 0.0).targets is None
    assert layer.decide(HOME, reading(0.71), 1.0).verdict is Verdict.SEND
    late = layer.decide(HOME, reading(0.69), 1.0)
    assert late.verdict is Verdict.HOLD
    assert "0.31 s old" in late.reason
    assert layer.decide(HOME, reading(1.31), 1.0).verdict is Verdict.HOLD  # another clock


def test_the_watchdog_holds_when_no_command_comes():
    layer = SafetyLayer()
    assert layer.watch(reading(0.0), 0.0).verdict is Verdict.HOLD
    layer.decide(HOME, reading(0.0), 0.0)
    sent = layer.watch(reading(0.5), 0.5)
    assert sent.verdict is Verdict.SEND
    np.testing.assert_array_equal(sent.targets, HOME)
    late = layer.watch(reading(0.52), 0.52)
    assert late.verdict is Verdict.HOLD
    assert "no command for 0.52 s" in late.reason
    assert layer.decide(HOME, reading(0.6), 0.6).verdict is Verdict.SEND


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("reaction", ["hold", "release"])
def test_a_fault_is_reported_until_it_is_acknowledged(kind, reaction):
    name, _, beyond, sound = FAULTS[kind]
    arm = Arm(fault_time=0.15, **{f"on_{kind.split(',')[0]}": reaction})
    arm.settle()
    bad = {name: at("elbow_flex", beyond, sound)}
    arm.decide(HOME, **bad)
    assert arm.layer.fault == "", "it has not lasted yet"
    while arm.decide(HOME, **bad).verdict == "send":
        pass
    for _ in range(3):
        decision = arm.decide(HOME)  # sound again
        assert "elbow_flex" in arm.layer.fault
        assert arm.layer.fault == decision.reason
    arm.layer.acknowledge()
    assert arm.layer.fault == ""
    assert arm.settle().verdict == "send"


def test_a_fault_is_reported_while_the_arm_is_only_watched():
    arm = Arm(fault_time=0.0)
    arm.settle()
    arm.watch(temperatures=at("gripper", 70, 35))
    assert "gripper" in arm.layer.fault


def test_the_worse_fault_is_reported():
    arm = Arm(on_temperature="release", fault_time=0.0)
    arm.decide(HOME, loads=at("gripper", 1.0, 0))
    assert "gripper" in arm.layer.fault
    arm.decide(HOME, temperatures=at("wrist_roll", 70, 35))
    assert "wrist_roll" in arm.layer.fault and "gripper" not in arm.layer.fault
    arm.decide(HOME, loads=at("gripper", 1.0, 0))
    assert "wrist_roll" in arm.layer.fault, "a later hold does not hide a release"


def test_connect_clears_the_fault():
    arm = Arm(fault_time=0.0)
    arm.decide(HOME, loads=at("gripper", 1.0, 0))
    arm.layer.connect()
    assert arm.layer.fault == ""


def test_holds_that_end_by_themselves_are_no_faults():
    layer = SafetyLayer()
    held = [
        layer.decide(HOME, None, 0.0),
        layer.watch(reading(0.1), 0.1),
        layer.decide(HOME, reading(0.2, positions=at("elbow_flex", np.nan, 0)), 0.2),
        layer.decide(at("elbow_flex", np.nan, 0), reading(0.3), 0.3),
    ]
    assert [decision.verdict for decision in held] == ["hold"] * 4
    assert all(decision.reason for decision in held)
    assert layer.fault == ""
