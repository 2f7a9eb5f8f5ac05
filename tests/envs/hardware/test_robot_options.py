"""Options of the two arms of a physical robot."""

from dataclasses import fields
from pathlib import Path

import pytest

from envs.hardware.arm.arm_settings import ArmSettings
from envs.hardware.leader.grabbing import GrabRule
from envs.hardware.leader.leader_settings import LeaderSettings
from envs.hardware.letting_go.letting_go import LettingGo
from envs.hardware.robot_options import (
    LastResort,
    calibration_file,
    follower_options,
    leader_options,
)
from envs.hardware.setup.calibration import CalibrationError, calibration_path
from tests.envs.hardware.arm_on_the_bench import calibration

RATE = 12.0
REST = [0.0, -1.5, 1.5, 1.0, 0.0, 0.0]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "follower.json"
    calibration().save(path)
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Home folder without calibrations."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(params=["follower", "leader"])
def read(request):
    """Function that reads the options of either arm; ``read.arm`` names it."""

    def read(options):
        return follower_options(options, RATE) if request.param == "follower" else reads(options)

    reads = leader_options
    read.arm = request.param
    return read


def keep(kind, name, identifier, **reversed_joints):
    path = calibration_path(kind, name, identifier)
    calibration(**reversed_joints).save(path)


def given(file, **more):
    return {"port": "/dev/ttyACM0", "calibration": str(file), **more}


def test_port_and_calibration_are_enough(read, file):
    options = read(given(file))
    reached = options.reached
    assert (reached.port, reached.baudrate) == ("/dev/ttyACM0", 1_000_000)
    assert reached.calibration.motors == calibration().motors
    if read.arm == "follower":
        assert options.settings == ArmSettings(control_hz=RATE)
        assert options.last_resort == LastResort()
    else:
        assert options.settings == LeaderSettings()


def test_every_setting_of_the_follower_but_the_rate_can_be_given(file):
    chosen = {
        "ramp_hz": 40.0,
        "reset_speed": 0.3,
        "reset_tolerance": 0.05,
        "patience": 2.0,
        "on_return": "release",
    }
    expected = {each.name for each in fields(ArmSettings)} - {"control_hz", "letting_go"}
    assert set(chosen) == expected
    options = follower_options(given(file, baudrate=500_000, margin=0.01, **chosen), RATE)
    assert options.reached.margin == 0.01
    assert options.settings == ArmSettings(control_hz=RATE, **chosen)
    assert options.reached.baudrate == 500_000


def test_every_setting_of_the_leader_can_be_given(file):
    chosen = {
        each.name: getattr(LeaderSettings(), each.name) * 1.1
        for each in fields(LeaderSettings)
        if each.name != "grab"
    }
    assert leader_options(given(file, **chosen)).settings == LeaderSettings(**chosen)


def test_the_callers_options_stay_as_they_are(read, file):
    more = {"supervisor": {"hold": 1.0}} if read.arm == "follower" else {"grab": {"lag": 0.2}}
    options = given(file, baudrate=115_200, **more)
    before = {**options}
    read(options)
    assert options == before


@pytest.mark.parametrize(
    ("misspelt", "nearest"), [("prot", "port"), ("patince", "patience"), ("calibraton", "calib")]
)
def test_an_unknown_option_is_refused_with_the_nearest(read, file, misspelt, nearest):
    complaint = rf"^{read.arm} has no option '{misspelt}': did you mean '{nearest}"
    with pytest.raises(TypeError, match=complaint):
        read(given(file, **{misspelt: 1.0}))


def test_options_of_one_arm_are_refused_for_the_other(file):
    with pytest.raises(TypeError, match="follower has no option 'grace'"):
        follower_options(given(file, grace=1.0), RATE)
    for name in ("supervisor", "letting_go", "reset_speed"):
        with pytest.raises(TypeError, match=f"leader has no option '{name}'"):
            leader_options(given(file, **{name: {}}))


def test_the_rate_is_no_option_of_an_arm(file):
    with pytest.raises(TypeError, match="follower has no option 'control_hz'"):
        follower_options(given(file, control_hz=10.0), RATE)


@pytest.mark.parametrize("options", [None, "/dev/ttyACM0", ["port"], 3])
def test_options_that_are_no_mapping_are_refused(read, options):
    with pytest.raises(TypeError, match=f"^{read.arm} must be a mapping of option names"):
        read(options)


@pytest.mark.parametrize("port", [None, "", 0])
def test_a_missing_port_is_refused(read, file, port):
    for options in (given(file, port=port), {"calibration": str(file)}):
        with pytest.raises(TypeError, match=f"^{read.arm} lacks 'port'"):
            read(options)


def test_either_a_file_or_an_id_is_required(read, file):
    both = given(file, id="mine")
    for options in (both, {"port": "/dev/ttyACM0"}):
        with pytest.raises(TypeError, match=f"^{read.arm} needs either 'calibration' .* or 'id'"):
            read(options)


def test_a_calibration_may_be_in_the_home_folder(read, file, monkeypatch):
    monkeypatch.setenv("HOME", str(file.parent))
    options = read(given(f"~/{file.name}"))
    assert options.reached.calibration.motors == calibration().motors


def test_a_missing_calibration_is_named(read, tmp_path):
    with pytest.raises(CalibrationError, match=r"there is no calibration .*mine\.json"):
        read(given(tmp_path / "mine.json"))


NAMES = {
    "follower": ("robots", "so101_follower", "so_follower"),
    "leader": ("teleoperators", "so101_leader", "so_leader"),
}


@pytest.mark.parametrize("kept", [0, 1], ids=["old name", "new name"])
def test_an_id_is_looked_up_where_lerobot_keeps_it(read, home, kept):
    kind, *names = NAMES[read.arm]
    keep(kind, names[kept], "mine", elbow_flex=True)
    keep(kind, names[kept], "another")
    other = NAMES["leader" if read.arm == "follower" else "follower"]
    keep(other[0], other[1 + kept], "mine")
    reached = read({"port": "/dev/ttyACM0", "id": "mine"}).reached
    assert reached.calibration.motors == calibration(elbow_flex=True).motors


def test_an_id_under_both_names_is_the_old_one(read, home):
    kind, old, new = NAMES[read.arm]
    keep(kind, old, "mine", elbow_flex=True)
    keep(kind, new, "mine")
    reached = read({"port": "/dev/ttyACM0", "id": "mine"}).reached
    assert reached.calibration.motors == calibration(elbow_flex=True).motors


def test_a_missing_id_is_named_with_its_path(read, home):
    kind, old, _ = NAMES[read.arm]
    with pytest.raises(CalibrationError, match=rf"no calibration .*{kind}/{old}/mine\.json"):
        read({"port": "/dev/ttyACM0", "id": "mine"})


def test_calibration_file_needs_no_existing_file(home):
    assert calibration_file("leader", {"calibration": "arms/a.json"}) == Path("arms/a.json")
    for arm, (kind, old, new) in NAMES.items():
        assert calibration_file(arm, {"id": "mine"}) == calibration_path(kind, old, "mine")
        keep(kind, new, "mine")
        assert calibration_file(arm, {"id": "mine"}) == calibration_path(kind, new, "mine")
        with pytest.raises(TypeError, match=f"^{arm} needs either 'calibration'"):
            calibration_file(arm, {})
        with pytest.raises(TypeError, match=f"^{arm} must be a mapping"):
            calibration_file(arm, "mine")


def test_letting_go_is_a_mapping_of_its_own(file):
    ways = {"way": "rest", "rest": REST, "ramp_time": 1.0}
    settings = follower_options(given(file, letting_go=ways), RATE).settings
    assert settings.letting_go == LettingGo("rest", 1.0, tuple(REST))
    assert hash(settings.letting_go), "a list would make it unhashable"
    assert ways["rest"] == REST
    only = follower_options(given(file, letting_go={"ramp_time": 2.0}), RATE).settings
    assert only.letting_go == LettingGo(ramp_time=2.0)


def test_supervisor_is_a_mapping_of_its_own(file):
    options = follower_options(given(file, supervisor={"hold": 10.0}), RATE)
    assert options.last_resort == LastResort(hold=10.0, ramp=3.0)


def test_grab_is_a_mapping_of_its_own(file):
    options = leader_options(given(file, grab={"threshold": 0.1, "lag": 0.2}))
    assert options.settings.grab == GrabRule(threshold=0.1, lag=0.2)


@pytest.mark.parametrize(
    ("section", "misspelt", "nearest"),
    [
        ("letting_go", "ramptime", "ramp_time"),
        ("supervisor", "hould", "hold"),
        ("grab", "treshold", "threshold"),
    ],
)
def test_sections_refuse_unknown_options_and_other_types(file, section, misspelt, nearest):
    arm = "leader" if section == "grab" else "follower"

    def read(value):
        options = given(file, **{section: value})
        return leader_options(options) if arm == "leader" else follower_options(options, RATE)

    complaint = rf"^{arm}\.{section} has no option '{misspelt}': did you mean '{nearest}'"
    with pytest.raises(TypeError, match=complaint):
        read({misspelt: 1.0})
    for value in (None, 3.0, ["hold"]):
        with pytest.raises(TypeError, match=rf"^{arm}\.{section} must be a mapping"):
            read(value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"baudrate": 9599}, r"follower\.baudrate must be an integer from 9600 to 1000000"),
        ({"baudrate": 1_000_001}, r"follower\.baudrate must be an integer"),
        ({"margin": 0.001}, r"follower\.margin must be a number from 0.002 to 0.1"),
        ({"baudrate": 115_200.0}, r"follower\.baudrate must be an integer"),
        ({"patience": 0.0}, "patience must be a number from 0.1 to 10"),
        ({"on_return": "drop"}, r"on_return must be one of \['hold', 'release'\]"),
        ({"letting_go": {"way": "fall"}}, r"letting_go\.way must be one of"),
        ({"letting_go": {"way": "rest"}}, r"letting_go\.rest is None"),
        ({"letting_go": {"way": "rest", "rest": [0.0] * 5}}, r"letting_go\.rest must be 6 angles"),
        ({"supervisor": {"hold": 601.0}}, r"supervisor\.hold must be a number from 0 to 600"),
        ({"supervisor": {"hold": -0.1}}, r"supervisor\.hold must be a number"),
        ({"supervisor": {"ramp": 0.0}}, r"supervisor\.ramp must be a number from 0.1 to 30"),
        ({"supervisor": {"ramp": 31.0}}, r"supervisor\.ramp must be a number"),
    ],
)
def test_a_follower_value_out_of_range_is_refused(file, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        follower_options(given(file, **options), RATE)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"baudrate": 9599}, r"leader\.baudrate must be an integer from 9600 to 1000000"),
        ({"torque": 1.0}, r"leader\.torque must be a number from 0.1 to 0.8"),
        ({"speed": "quick"}, r"leader\.speed must be a number"),
        ({"grab": {"lag": -1.0}}, r"grab\.lag must be a number from 0 to 0.3"),
    ],
)
def test_a_leader_value_out_of_range_is_refused(file, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        leader_options(given(file, **options))


@pytest.mark.parametrize("rate", [0.5, 101.0])
def test_an_invalid_rate_is_refused(file, rate):
    with pytest.raises(ValueError, match="control_hz must be a number from 1 to 100"):
        follower_options(given(file), rate)
