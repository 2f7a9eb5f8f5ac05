import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.kinematics import HOME, JOINTS, Kinematics
from envs.safety import ArmReading, SafetyLayer, SafetyLimits, Verdict
from envs.workspace import Workspace, clamp

KINEMATICS = Kinematics()
LOW, HIGH = KINEMATICS.joint_limits
PERIOD = 0.1
REST = np.array([0.0, -1.75, 1.69, 1.2, 0.0, 0.0])  # folded: 1 cm below the box's floor


def reading(time, positions=HOME, **others):
    values = {
        "velocities": np.zeros(6),
        "currents": np.zeros(6),
        "temperatures": np.full(6, 35.0),
        "voltages": np.full(6, 7.4),
        "loads": np.zeros(6),
    }
    return ArmReading(time, positions, **{**values, **others})


def at(joint, value, rest):
    values = np.full(6, float(rest))
    values[JOINTS.index(joint)] = value
    return values


def moved(joints, **by):
    """Joint angles some of which are changed by so much."""
    return joints + [by.get(joint, 0.0) for joint in JOINTS]


class Arm:
    """A layer under test with an arm that is always where it was sent."""

    def __init__(self, positions=HOME, **limits):
        self.layer = SafetyLayer(SafetyLimits(**limits))
        self.positions = np.array(positions, dtype=float)
        self.now = 100.0
        self.last = None

    def decide(self, wanted, after=PERIOD, **readings):
        self.now += after
        return self._take(
            self.layer.decide(wanted, reading(self.now, self.positions, **readings), self.now)
        )

    def watch(self, after=PERIOD, **readings):
        self.now += after
        return self._take(self.layer.watch(reading(self.now, self.positions, **readings), self.now))

    def settle(self, wanted=HOME, steps=30):
        for _ in range(steps):
            decision = self.decide(wanted)
        return decision

    def _take(self, decision):
        if decision.targets is not None:
            self.positions = self.last = decision.targets
        return decision


def excess(joints, box):
    """How far the TCP is outside of the box, by axis [m]."""
    tcp = KINEMATICS.forward(joints)
    return float(np.abs(tcp - clamp(tcp, box)).max())


def test_the_first_target_is_where_the_arm_is_and_the_arm_starts_slowly():
    arm = Arm()
    wanted = moved(HOME, shoulder_pan=0.2)
    steps = []
    before = HOME
    for _ in range(12):
        decision = arm.decide(wanted)
        assert decision.verdict is Verdict.SEND
        steps.append(decision.targets[0] - before[0])
        before = decision.targets
    assert steps[0] == 0.0
    # 0.3 rad/s at the start, 3 rad/s a second later.
    assert steps[1] == pytest.approx(0.1 * (0.3 + 0.1 * 2.7))
    assert steps[2] == pytest.approx(0.1 * (0.3 + 0.2 * 2.7))
    np.testing.assert_allclose(arm.last, wanted)


@pytest.mark.parametrize("change", ["handover", "hold", "silence"])
def test_after_every_interruption_it_starts_slowly_again(change):
    arm = Arm()
    arm.settle()
    after = PERIOD
    if change == "handover":
        arm.layer.handover()
    elif change == "hold":
        assert arm.decide(np.full(6, np.nan)).verdict is Verdict.HOLD
    else:
        after = 0.51
    first = arm.decide(moved(HOME, shoulder_pan=0.3), after).targets
    second = arm.decide(moved(HOME, shoulder_pan=0.3)).targets
    np.testing.assert_array_equal(first, HOME)
    assert 0.0 < second[0] - first[0] < 0.06


def test_largest_step_and_largest_speed_hold_at_their_edges():
    def step_after(pause, wanted, **limits):
        arm = Arm(**limits)
        arm.settle()
        decision = arm.decide(moved(HOME, shoulder_pan=wanted), pause)
        return decision.targets[0], decision.limited

    assert step_after(0.1, 0.199, max_speed=2.0) == (pytest.approx(0.199), ())
    assert step_after(0.1, 0.201, max_speed=2.0) == (pytest.approx(0.2), ("speed",))
    assert step_after(0.05, 0.2, max_speed=2.0) == (pytest.approx(0.1), ("speed",))
    assert step_after(0.4, 0.299) == (pytest.approx(0.299), ())
    assert step_after(0.4, 0.301) == (pytest.approx(0.3), ("speed",))
    assert step_after(0.0, 0.3) == (0.0, ("speed",))


def test_a_clock_that_runs_back_and_a_hold_give_no_step_for_free():
    arm = Arm()
    arm.settle()
    wanted = moved(HOME, shoulder_pan=0.3)
    first = arm.decide(wanted, 0.05).targets[0]
    assert arm.decide(wanted, -0.2).targets[0] == first
    assert arm.decide(wanted, 0.2).targets[0] == first
    # In a hold a gripper that presses too hard is loosened, at 0.3 rad/s.
    layer = SafetyLayer(SafetyLimits(command_timeout=2.0))
    grip(layer, 15, 0.0, 0.5)
    grip(layer, 10, 1.5, 0.81)
    grip(layer, 1, 2.49, 0.81, wanted=np.nan)
    assert 0.0 < grip(layer, 1, 2.51, 0.81, decide=False)[0] <= 0.3 * 0.02 + 1e-9


def test_a_step_that_is_cut_keeps_the_direction_of_the_joints_and_frees_the_gripper():
    arm = Arm()
    arm.settle()
    change = arm.decide(moved(HOME, shoulder_pan=0.4, elbow_flex=0.2, gripper=0.1)).targets - HOME
    np.testing.assert_allclose(change, [0.3, 0.0, 0.15, 0.0, 0.0, 0.1], atol=1e-9)


@pytest.mark.parametrize("joint", JOINTS)
def test_joint_limits_hold_at_their_edges(joint):
    index = JOINTS.index(joint)
    for edge, sign in ((HOME[index] - 0.1, -1), (HOME[index] + 0.1, 1)):
        limits = {joint: tuple(sorted((edge, HOME[index])))}
        arm = Arm(joints=limits, max_lead=3.0)
        wanted = HOME.copy()
        wanted[index] = edge
        assert "joints" not in arm.settle(wanted).limited
        assert arm.last[index] == pytest.approx(edge, abs=1e-12)
        wanted[index] = edge + sign * 0.01
        assert "joints" in arm.settle(wanted).limited
        assert arm.last[index] == pytest.approx(edge, abs=1e-12)


def test_the_models_joint_limits_hold_where_none_are_given():
    arm = Arm()
    arm.settle(moved(HOME, wrist_roll=9.0, gripper=9.0), 60)
    np.testing.assert_allclose(arm.last[4:], HIGH[4:])


def test_a_target_outside_of_the_box_is_approached_to_its_side():
    box = Workspace()
    for side, towards in (
        ([0.30, 0.0, 0.05], [0.33, 0.0, 0.05]),
        ([0.2, 0.1, 0.008], [0.2, 0.1, -0.03]),
    ):
        inside = KINEMATICS.inverse(side)
        arm = Arm(inside)
        assert arm.settle(inside).limited == ()
        decision = arm.settle(KINEMATICS.inverse(towards))
        assert "workspace" in decision.limited
        # Up to the tolerance, less at most one sample of the way (0.02 rad).
        assert 0.0 < excess(arm.last, box) <= 0.005
        assert arm.settle(inside).limited == ()
        np.testing.assert_allclose(arm.last, inside, atol=1e-9)


def test_the_way_between_two_targets_stays_in_the_box():
    # Both ends are inside, but the straight way of the joints swings out beyond x = 0.3.
    box = Workspace()
    start, end = (KINEMATICS.inverse([0.295, y, 0.03]) for y in (-0.15, 0.15))
    ways = [start + s * (end - start) for s in np.linspace(0, 1, 50)]
    assert max(excess(joints, box) for joints in ways) > 0.02
    arm = Arm(start, max_step=1.0, max_speed=6.0, max_lead=3.0)
    arm.settle(start)
    assert "workspace" in arm.settle(end).limited
    assert excess(arm.last, box) <= 0.005
    assert np.abs(arm.last - end).max() > 0.5


def test_one_long_step_may_not_jump_through_the_outside_of_the_box():
    start, end = (KINEMATICS.inverse([0.295, y, 0.03]) for y in (-0.15, 0.15))
    layer = SafetyLayer(SafetyLimits(max_step=1.0, max_speed=6.0, first_speed=6.0, max_lead=3.0))
    layer.decide(start, reading(0.0, start), 0.0)
    decision = layer.decide(end, reading(0.4, start), 0.4)
    assert decision.limited == ("speed", "workspace")
    assert excess(decision.targets, Workspace()) <= 0.005


def test_a_folded_arm_comes_into_the_box_slowly_and_never_lower():
    arm = Arm(REST)
    low = KINEMATICS.forward(REST)[2]
    assert excess(REST, Workspace()) > 0.005
    for _ in range(120):
        before, outside = arm.positions, excess(arm.positions, Workspace()) > 0.005
        arm.decide(HOME)
        assert KINEMATICS.forward(arm.last)[2] >= low - 1e-9
        if outside:
            assert np.abs(arm.last - before).max() <= 0.03 + 1e-9
    np.testing.assert_allclose(arm.last, HOME, atol=1e-9)


def test_an_arm_outside_of_the_box_moves_nowhere_but_into_it():
    arm = Arm(np.zeros(6))  # stretched out, 10 cm too high
    decision = arm.settle(moved(np.zeros(6), shoulder_pan=0.5))
    assert decision.limited[-1] == "workspace"
    np.testing.assert_array_equal(arm.last, np.zeros(6))
    arm.settle(HOME, 80)
    np.testing.assert_allclose(arm.last, HOME, atol=1e-9)


def test_a_blocked_joint_is_not_wound_up():
    layer = SafetyLayer(SafetyLimits(max_lead=0.1))
    for step in range(30):
        now = step * PERIOD
        decision = layer.decide(moved(HOME, shoulder_pan=0.3), reading(now, HOME), now)
    assert decision.targets[0] == pytest.approx(0.1)
    assert decision.limited == ("lead",)


def grip(layer, steps, start, current, measured=0.2, wanted=0.0, decide=True):
    """Closes on something that is 0.2 rad wide; returns the gripper's targets."""
    targets = []
    positions = np.array([*HOME[:5], measured])
    for step in range(steps):
        now = start + step * PERIOD
        telemetry = reading(now, positions, currents=at("gripper", current, 0))
        wish = np.array([*HOME[:5], wanted])
        decision = layer.decide(wish, telemetry, now) if decide else layer.watch(telemetry, now)
        targets.append(decision.targets[-1])
    return targets


def test_a_stalled_gripper_is_loosened_by_half_and_not_opened():
    layer = SafetyLayer()
    grip(layer, 15, 0.0, 0.5)
    assert grip(layer, 10, 1.5, 0.8)[-1] == 0.0  # at the limit
    pressing = grip(layer, 10, 2.5, 0.81)
    assert pressing[-1] == 0.0  # for less than a second
    assert grip(layer, 12, 3.5, 0.81)[-1] == pytest.approx(0.1)
    # Still too much: half of what is left, and never past what is held.
    targets = grip(layer, 100, 4.7, 0.81)
    assert (np.diff(targets) >= 0.0).all()
    assert 0.19 < targets[-1] < 0.2


def test_a_stalled_gripper_is_loosened_in_a_hold_and_without_commands_too():
    layer = SafetyLayer()
    grip(layer, 15, 0.0, 0.5)
    targets = grip(layer, 25, 1.5, 0.81, decide=False)
    assert targets[0] == 0.0
    assert targets[-1] == pytest.approx(0.15, abs=0.051)
    layer = SafetyLayer()
    grip(layer, 15, 0.0, 0.5)
    assert 0.09 < grip(layer, 14, 1.5, 0.81, wanted=np.nan)[-1] < 0.2


def test_a_loosened_gripper_opens_and_grips_again():
    layer = SafetyLayer()
    grip(layer, 30, 0.0, 0.81)
    assert grip(layer, 20, 3.0, 0.2, wanted=1.0, measured=1.0)[-1] == pytest.approx(1.0)
    assert grip(layer, 20, 5.0, 0.2, wanted=0.0)[-1] == pytest.approx(0.0)


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


def test_who_acknowledges_a_fault_has_time_to_end_it():
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
def test_readings_that_cannot_be_hold_the_arm_while_they_last(readings, named):
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


def test_what_is_given_out_is_not_what_is_kept():
    arm = Arm()
    arm.settle()
    arm.decide(HOME).targets[:] = 9.0
    np.testing.assert_array_equal(arm.watch().targets, HOME)


def test_options_are_checked_by_name():
    built = SafetyLimits.from_options({"max_speed": 1, "joints": {"gripper": [0, 1]}})
    assert built == SafetyLimits(max_speed=1.0, joints={"gripper": [0, 1]})
    assert SafetyLimits.from_options(None) == SafetyLimits()
    with pytest.raises(
        TypeError, match=r"safety has no option 'max_sped': did you mean 'max_speed'"
    ):
        SafetyLimits.from_options({"max_sped": 1})
    with pytest.raises(TypeError, match=r"no option 'elbow': did you mean 'elbow_flex'"):
        SafetyLimits.from_options({"joints": {"elbow": [0, 1]}})
    with pytest.raises(ValueError, match=r"safety.on_load must be one of"):
        SafetyLimits.from_options({"on_load": "drop"})
    with pytest.raises(ValueError, match=r"safety.min_voltage is 8, above safety.max_voltage of 7"):
        SafetyLimits.from_options({"min_voltage": 8, "max_voltage": 7})
    for wrong in ([0.0, 2.0], [1.0, 0.0], 0.3, [0.1]):
        with pytest.raises(ValueError, match=r"safety.joints.gripper must be"):
            SafetyLayer(SafetyLimits.from_options({"joints": {"gripper": wrong}}))


@pytest.mark.parametrize(
    "name",
    [each.name for each in dataclasses.fields(SafetyLimits) if isinstance(each.default, float)],
)
def test_every_figure_has_a_range(name):
    for wrong in (-1.0, 1000.0, np.nan, "fast", None):
        with pytest.raises(ValueError, match=f"safety.{name} must be a number from"):
            SafetyLimits.from_options({name: wrong})


def vectors(low, high):
    return st.lists(st.floats(low, high), min_size=6, max_size=6).map(np.array)


anything = st.floats(allow_nan=True, allow_infinity=True)
events = st.fixed_dictionaries(
    {
        "do": st.sampled_from(["decide"] * 8 + ["watch", "handover", "acknowledge"]),
        "wanted": st.one_of(
            st.lists(anything, min_size=6, max_size=6).map(np.array),
            vectors(-3.0, 3.0),
            st.tuples(st.floats(0.1, 0.35), st.floats(-0.2, 0.2), st.floats(-0.02, 0.2)).map(
                lambda tcp: KINEMATICS.inverse(tcp, 0.2)
            ),
        ),
        "after": st.one_of(st.floats(0.0, 0.12), st.floats(-0.1, 3.0)),
        "age": st.one_of(st.just(0.0), st.floats(-1.0, 1.0)),
        "error": st.one_of(st.just(np.zeros(6)), vectors(-0.5, 0.5), vectors(-np.inf, np.inf)),
        "currents": vectors(-3.0, 3.0),
        "temperature": st.floats(20.0, 65.0),
    }
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(vectors(-2.0, 2.0), st.just(HOME), st.just(REST)),
    st.lists(events, min_size=1, max_size=40),
    st.sampled_from(["hold", "release"]),
)
def test_whatever_comes_no_target_leaves_its_limits(positions, steps, reaction):
    limits = SafetyLimits(on_temperature=reaction, grip_time=0.2)
    layer = SafetyLayer(limits)
    box, tolerance = limits.workspace, limits.workspace_tolerance
    last, last_time, now = None, 0.0, 50.0
    for event in steps:
        now += event["after"]
        clock = max(now, last_time)
        if event["do"] in ("handover", "acknowledge"):
            getattr(layer, event["do"])()
            continue
        telemetry = reading(
            now - event["age"],
            positions + event["error"],
            currents=event["currents"],
            temperatures=np.full(6, event["temperature"]),
        )
        if event["do"] == "decide":
            decision = layer.decide(event["wanted"], telemetry, now)
        else:
            decision = layer.watch(telemetry, now)
        targets = decision.targets
        assert (decision.verdict == "send") == (decision.reason == "")
        if targets is None:
            assert decision.verdict is not Verdict.SEND
            last = None
            continue
        assert np.isfinite(targets).all()
        if last is None:
            np.testing.assert_array_equal(targets, telemetry.positions)
        else:
            change = np.abs(targets - last)
            assert change.max() <= limits.max_step + 1e-9
            assert change.max() <= limits.max_speed * (clock - last_time) + 1e-9
            beyond, was = (
                np.maximum(LOW - targets, targets - HIGH),
                np.maximum(LOW - last, last - HIGH),
            )
            assert (beyond <= np.maximum(was, 0.0) + 1e-9).all()
            way = [last + s * (targets - last) for s in np.linspace(0, 1, 9)]
            if excess(last, box) <= tolerance:
                assert max(excess(joints, box) for joints in way) <= tolerance + 4e-4
                assert excess(targets, box) <= tolerance + 1e-9
            elif change[:5].max() > 0:
                assert change[:5].max() <= limits.first_speed * (clock - last_time) + 1e-9
                floor = min(box.low[2] - tolerance, KINEMATICS.forward(last)[2])
                assert KINEMATICS.forward(targets)[2] >= floor - 4e-4
        if last is None or event["do"] == "decide" or (targets != last).any():
            last_time = clock
        last = positions = targets
