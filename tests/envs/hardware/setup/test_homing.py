"""Sweeps: wraps inside the travel, offsets beyond the servo's, travels too small."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.hardware.setup.calibration import LARGEST_OFFSET, MIDDLE, Calibration, CalibrationError
from envs.hardware.setup.homing import FULL_TURN, Sweep, calibrated, homing_offset, progress
from envs.kinematics import JOINTS, Kinematics

LOW, HIGH = Kinematics().joint_limits
TRAVEL = dict(zip(JOINTS, (HIGH - LOW).tolist(), strict=True))
IDS = {name: index + 1 for index, name in enumerate(JOINTS)}


def swept(start: int, travel: int, step: int = 50) -> Sweep:
    """Sweep a joint from one end stop to the other and half way back."""
    sweep = Sweep()
    way = [*range(start, start + travel, step), start + travel]
    for position in [*way, *reversed(way[len(way) // 2 :])]:
        sweep.add(position % 4096)
    return sweep


@given(st.integers(0, 4095), st.integers(200, 4000), st.integers(1, 2000))
def test_travel_and_middle_do_not_depend_on_where_the_encoder_wraps(
    start: int, travel: int, step: int
) -> None:
    sweep = swept(start, travel, step)
    assert sweep.travel == travel
    assert (sweep.middle - (start + travel // 2)) % 4096 in (0, 4095)


@given(st.integers(0, 4095))
def test_homing_offset_is_within_range_and_makes_the_middle_2047(middle: int) -> None:
    offset = homing_offset(middle)
    assert abs(offset) <= LARGEST_OFFSET
    reads = (middle - offset) % 4096
    assert reads == MIDDLE or (reads == MIDDLE - 1 and (middle - MIDDLE) % 4096 == 2048)


def test_an_offset_beyond_the_range_is_moved_by_a_turn() -> None:
    """LeRobot's "Magnitude 2114 exceeds 2047": the middle is at 4161, or 65 of the next turn."""
    assert homing_offset(MIDDLE + 2114) == 2114 - 4096


@given(st.lists(st.integers(0, 4095), min_size=6, max_size=6))
def test_swept_joints_stay_within_their_range_however_mounted(starts: list[int]) -> None:
    travels = {name: round(0.95 * TRAVEL[name] * 4096 / (2 * np.pi)) for name in JOINTS}
    sweeps = {name: swept(start, travels[name]) for name, start in zip(JOINTS, starts, strict=True)}
    motors = calibrated(sweeps, TRAVEL, IDS)
    Calibration(motors, (LOW, HIGH))  # checks every number
    for name, start in zip(JOINTS, starts, strict=True):
        motor = motors[name]
        for position in (start, start + travels[name] // 2, start + travels[name]):
            reported = (position - motor.homing_offset) % 4096
            if name != FULL_TURN:
                assert motor.range_min - 2 <= reported <= motor.range_max + 2, name


def test_a_small_sweep_names_the_joint_and_what_to_do() -> None:
    sweeps = {name: swept(1000, 2100) for name in JOINTS}
    sweeps["elbow_flex"] = swept(1000, 300)
    needed = progress(sweeps, TRAVEL)["elbow_flex"].needed
    with pytest.raises(CalibrationError, match=f"elbow_flex 300 of {needed} ticks.*from one end"):
        calibrated(sweeps, TRAVEL, IDS)
    assert not progress(sweeps, TRAVEL)["elbow_flex"].enough
    assert progress(sweeps, TRAVEL)["shoulder_pan"].enough


def test_the_full_turn_joint_needs_no_sweep() -> None:
    sweeps = {name: swept(1000, 2100) for name in JOINTS}
    sweeps[FULL_TURN] = Sweep()
    sweeps[FULL_TURN].add(3000)
    motor = calibrated(sweeps, TRAVEL, IDS)[FULL_TURN]
    assert (motor.range_min, motor.range_max) == (0, 4095)
    assert (3000 - motor.homing_offset) % 4096 == MIDDLE
    assert FULL_TURN not in progress(sweeps, TRAVEL)


def test_unread_or_slipping_joints_are_named() -> None:
    sweeps = {name: swept(1000, 2100) for name in JOINTS}
    with pytest.raises(CalibrationError, match="gripper was never read"):
        calibrated(sweeps | {"gripper": Sweep()}, TRAVEL, IDS)
    with pytest.raises(CalibrationError, match="shoulder_pan was moved by 5000 ticks, more than"):
        calibrated(sweeps | {"shoulder_pan": swept(0, 5000)}, TRAVEL, IDS)
    with pytest.raises(CalibrationError, match="an encoder reads 0 to 4095, got 4096"):
        Sweep().add(4096)
