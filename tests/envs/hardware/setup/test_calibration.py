"""Calibration: LeRobot's file, ticks and radians, and refused files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.hardware.setup.calibration import (
    Calibration,
    CalibrationError,
    MotorCalibration,
    calibration_path,
    read_calibration,
)
from envs.kinematics import JOINTS, Kinematics

LIMITS = Kinematics().joint_limits


def motors(**changes: Any) -> dict[str, MotorCalibration]:
    plain = {"drive_mode": 0, "homing_offset": 12, "range_min": 900, "range_max": 3200}
    return {
        name: MotorCalibration(**({"id": index + 1} | plain | changes.get(name, {})))
        for index, name in enumerate(JOINTS)
    }


def test_the_middle_of_the_range_is_zero_and_a_turn_is_two_pi() -> None:
    calibration = Calibration(motors(), LIMITS)
    np.testing.assert_allclose(calibration.to_radians(np.full(6, 2050))[:5], 0, atol=1e-12)
    step = calibration.to_radians(np.full(6, 2051))[:5]
    np.testing.assert_allclose(step, 2 * np.pi / 4096)


def test_the_gripper_spans_the_models_range() -> None:
    for drive_mode, closed in ((0, 900), (1, 3200)):
        calibration = Calibration(motors(gripper={"drive_mode": drive_mode}), LIMITS)
        ends = [calibration.to_radians(np.full(6, t))[5] for t in (closed, 900 + 3200 - closed)]
        np.testing.assert_allclose(ends, [LIMITS[0][5], LIMITS[1][5]])


def test_drive_mode_reverses_the_joint() -> None:
    calibration = Calibration(motors(elbow_flex={"drive_mode": 1}), LIMITS)
    angles = calibration.to_radians(np.full(6, 2150))
    assert angles[2] == pytest.approx(-angles[1])


@given(st.lists(st.integers(900, 3200), min_size=6, max_size=6), st.integers(0, 1))
def test_ticks_and_radians_round_trip(ticks: list[int], drive_mode: int) -> None:
    mode = {"drive_mode": drive_mode}
    calibration = Calibration(motors(gripper=mode, shoulder_lift=mode), LIMITS)
    assert calibration.to_ticks(calibration.to_radians(ticks)).tolist() == ticks


def test_to_ticks_stays_within_the_motors_range() -> None:
    calibration = Calibration(motors(), LIMITS)
    assert calibration.to_ticks(np.full(6, 50.0)).tolist() == [3200] * 6
    assert calibration.to_ticks(np.full(6, -50.0)).tolist() == [900] * 6


def test_lerobots_file_is_read_and_written_unchanged(tmp_path: Path) -> None:
    text = json.dumps(
        {
            name: {
                "id": index + 1, "drive_mode": 0, "homing_offset": -1900 + index,
                "range_min": 700 + index, "range_max": 3300,
            }
            for index, name in enumerate(JOINTS)
        },
        indent=4,
    )  # fmt: skip
    given_file, written = tmp_path / "given.json", tmp_path / "new" / "written.json"
    given_file.write_text(text)
    calibration = read_calibration(given_file, LIMITS)
    calibration.save(written)
    assert json.loads(written.read_text()) == json.loads(text)
    assert calibration.ids == (1, 2, 3, 4, 5, 6)
    assert [path.name for path in written.parent.iterdir()] == ["written.json"]


def test_calibration_path_is_that_of_lerobot(tmp_path: Path) -> None:
    path = calibration_path("robots", "so101_follower", "mine", tmp_path)
    assert path.relative_to(tmp_path).as_posix() == (
        ".cache/huggingface/lerobot/calibration/robots/so101_follower/mine.json"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elbow_flex": {"homing_offset": 2114}}, "elbow_flex: homing_offset is 2114, the servo"),
        ({"gripper": {"range_max": 4096}}, "gripper: range_min 900 and range_max 4096 are no"),
        ({"gripper": {"range_min": 3200}}, "gripper: range_min 3200"),
        ({"gripper": {"id": 1}}, "are not all different"),
        ({"gripper": {"id": 254}}, "id is 254"),
        ({"wrist_flex": {"drive_mode": 2}}, "drive_mode is 2"),
    ],
)
def test_values_that_no_servo_can_hold_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        Calibration(motors(**changes), LIMITS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[1]", "expected joints by name, found a list"),
        ('{"gripper": {"id": 1}}', "gripper: expected the entries"),
        ('{"gripper": 3}', "gripper: expected the entries"),
        ("{}", "lacks the joint 'shoulder_pan'"),
    ],
)
def test_files_that_are_no_calibration_are_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "c.json"
    file.write_text(content)
    with pytest.raises(CalibrationError, match=message):
        read_calibration(file, LIMITS)
    with pytest.raises(CalibrationError, match=r"there is no calibration .*none\.json"):
        read_calibration(tmp_path / "none.json", LIMITS)


def test_fractional_numbers_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    Calibration(motors(), LIMITS).save(file)
    file.write_text(file.read_text().replace('"homing_offset": 12', '"homing_offset": 12.5', 1))
    with pytest.raises(CalibrationError, match=r"homing_offset is 12\.5, expected a whole number"):
        read_calibration(file, LIMITS)
