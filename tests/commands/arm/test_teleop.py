"""`e2hil teleop`: a hand on the virtual leader leads the virtual follower."""

from __future__ import annotations

import numpy as np
import pytest

from e2hil_rllib.commands.arm.arm_session import ArmSessionError
from e2hil_rllib.commands.arm.teleop import teleoperate
from e2hil_rllib.settings.run_settings import Settings
from envs.hardware.setup.calibration import read_calibration
from envs.kinematics import HOME, Kinematics
from tests.commands.at_the_arm import PersonAtTheArm, settings_of
from tests.goal_checks import check_goals
from tests.station import Station

pytestmark = pytest.mark.realtime

KINEMATICS = Kinematics()


def commanded_tcp(station: Station) -> np.ndarray:
    calibration = read_calibration(station.folder / "follower.json", KINEMATICS.joint_limits)
    goals = station.ask("registers", "follower", "Goal_Position")
    return KINEMATICS.forward(calibration.to_radians(goals))


def test_the_follower_goes_as_far_as_the_leader(station: Station, person: PersonAtTheArm) -> None:
    start, move = KINEMATICS.forward(HOME), np.array([0.03, 0.06, 0.03])
    seen: dict[str, np.ndarray] = {}

    def lead() -> None:
        seen["before"] = np.array(station.ask("tcp"))
        station.ask("grab_and_move", list(seen["before"] + move), 0.2)

    def end() -> None:
        seen["after"] = np.array(station.ask("tcp"))
        seen["follower"] = commanded_tcp(station)

    # Elsewhere than the follower, so that a follower that copied the leader's pose would jump.
    station.ask("grab_and_move", [0.2, -0.08, 0.05], 0.3)
    person.on("ready", person.press("take over", after=2.0))
    person.on("the person leads", lead)
    person.on("letting go", end)
    record = teleoperate(settings_of(station), person.console, seconds=4.0)
    assert np.linalg.norm(seen["after"] - seen["before"] - move) < 0.005
    assert np.linalg.norm(seen["follower"] - start - move) < 0.01
    assert record.led == record.steps > 30 and record.interrupted == 0
    assert f"{record.steps} steps" in person.printed and "answers lost" in person.printed
    calibration = read_calibration(station.folder / "follower.json", KINEMATICS.joint_limits)
    report = check_goals(station.ask("goals", "follower"), calibration)
    assert report.goals > 300 and report.unsafe == []
    for arm in ("follower", "leader"):
        assert station.ask("registers", arm, "Torque_Enable") == [0] * 6


def test_grabbing_takes_over_and_a_key_gives_back(station: Station, person: PersonAtTheArm) -> None:
    def grab() -> None:
        station.ask("grab_and_move", [0.24, 0.06, 0.08], 0.3)
        person.press("give back", after=1.5)()
        person.press("stop", after=3.0)()

    person.on("ready", person.press("give back", after=3.0))
    person.on("the policy acts", grab)
    record = teleoperate(settings_of(station), person.console)
    assert 3 < record.led < record.steps - 5, "the person led for a while"


def test_the_keys_bring_it_back_to_the_start(station: Station, person: PersonAtTheArm) -> None:
    def checked() -> None:
        assert np.linalg.norm(commanded_tcp(station) - KINEMATICS.forward(HOME)) < 0.005
        person.press("stop")()

    station.ask("grab_and_move", [0.2, -0.08, 0.05], 0.3)
    person.on("ready", person.press("take over", after=1.0), checked)
    person.on("the person leads", person.press("re-record", after=1.0))
    teleoperate(settings_of(station), person.console)
    assert person.printed.count("moving to the start") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"follower": {"port": "nowhere"}}, "follower needs either 'calibration'"),
        ({"leader": None, "operator": None}, "Nobody can lead"),
        ({"workspce": {}}, "workspace"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    station: Station, person: PersonAtTheArm, change: dict, message: str
) -> None:
    settings = settings_of(station)
    changed = Settings.model_validate(settings.resolved() | {"env": settings.env | change})
    with pytest.raises(ArmSessionError, match=message):
        teleoperate(changed, person.console)


def test_a_port_that_is_not_there_is_named(station: Station, person: PersonAtTheArm) -> None:
    settings = settings_of(station)
    follower = settings.env["follower"] | {"port": "nowhere/at/all"}
    changed = Settings.model_validate(
        settings.resolved() | {"env": settings.env | {"follower": follower}}
    )
    with pytest.raises(ArmSessionError, match=r"nowhere/at/all is lost.*check the USB cable"):
        teleoperate(changed, person.console)
