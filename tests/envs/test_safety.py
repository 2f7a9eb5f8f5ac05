"""Safety layer: limits of joint targets."""

import numpy as np
import pytest

from envs.kinematics import HOME, JOINTS
from envs.safety import SafetyLayer, SafetyLimits, Verdict
from envs.workspace import Workspace
from tests.envs.safety_cases import (
    HIGH,
    KINEMATICS,
    PERIOD,
    REST,
    Arm,
    excess,
    grip,
    moved,
    reading,
)


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


def test_a_clock_running_back_or_a_hold_allows_no_larger_step():
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


def test_one_long_step_does_not_cross_the_outside_of_the_box():
    start, end = (KINEMATICS.inverse([0.295, y, 0.03]) for y in (-0.15, 0.15))
    layer = SafetyLayer(SafetyLimits(max_step=1.0, max_speed=6.0, first_speed=6.0, max_lead=3.0))
    layer.decide(start, reading(0.0, start), 0.0)
    decision = layer.decide(end, reading(0.4, start), 0.4)
    assert decision.limited == ("speed", "workspace")
    assert excess(decision.targets, Workspace()) <= 0.005


def test_a_folded_arm_enters_the_box_slowly_and_never_lower():
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


def test_an_arm_outside_of_the_box_moves_only_into_it():
    arm = Arm(np.zeros(6))  # stretched out, 10 cm too high
    decision = arm.settle(moved(np.zeros(6), shoulder_pan=0.5))
    assert decision.limited[-1] == "workspace"
    np.testing.assert_array_equal(arm.last, np.zeros(6))
    arm.settle(HOME, 80)
    np.testing.assert_allclose(arm.last, HOME, atol=1e-9)


def test_a_way_back_that_leads_below_the_floor_ends_there():
    # Folded backwards, 3 cm above the table: the straight way home leads 6 cm below it.
    start = np.array([0.0, 1.2, 1.5, 0.3, 0.0, 0.9])
    ways = [start + s * (HOME - start) for s in np.linspace(0, 1, 50)]
    assert min(KINEMATICS.forward(joints)[2] for joints in ways) < -0.05
    arm = Arm(start, max_lead=3.0)
    assert arm.settle(HOME, 200).limited[-1] == "workspace"
    assert KINEMATICS.forward(arm.last)[2] >= 0.003  # the box's floor less the tolerance


def test_an_arm_that_entered_the_box_does_not_leave_it_on_the_same_way():
    start, end = KINEMATICS.inverse([0.297, -0.16, 0.057]), KINEMATICS.inverse([0.3, 0.108, 0.078])
    box = Workspace()
    limits = SafetyLimits(max_step=1.0, first_speed=6.0, max_speed=6.0, max_lead=3.0)
    layer = SafetyLayer(limits)
    layer.decide(start, reading(0.0, start), 0.0)
    decision = layer.decide(end, reading(0.4, start), 0.4)
    assert "workspace" in decision.limited
    assert excess(start, box) > 0.005 >= excess(decision.targets, box)


def test_an_arm_that_is_pushed_beyond_a_limit_is_not_followed_there():
    edge = moved(HOME, wrist_roll=HIGH[4] - 0.02)
    layer = SafetyLayer(SafetyLimits(max_lead=0.05))
    for step in range(30):
        now = step * PERIOD
        pushed = edge if step < 15 else moved(edge, wrist_roll=0.3)
        decision = layer.decide(edge, reading(now, pushed), now)
    assert decision.targets[4] == pytest.approx(HIGH[4])


def test_the_lead_of_a_blocked_joint_is_bounded():
    layer = SafetyLayer(SafetyLimits(max_lead=0.1))
    for step in range(30):
        now = step * PERIOD
        decision = layer.decide(moved(HOME, shoulder_pan=0.3), reading(now, HOME), now)
    assert decision.targets[0] == pytest.approx(0.1)
    assert decision.limited == ("lead",)


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


def test_decisions_share_no_memory_with_the_layer():
    arm = Arm()
    arm.settle()
    arm.decide(HOME).targets[:] = 9.0
    arm.positions = HOME
    arm.watch().targets[:] = 9.0
    arm.positions = HOME
    np.testing.assert_array_equal(arm.watch().targets, HOME)
