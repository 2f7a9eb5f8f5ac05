"""Spaces of a physical robot, derived without it: those of the real environment."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import yaml

from envs.hardware.robot import make_physical
from envs.hardware.robot_spaces import physical_spaces
from tests.envs.operators.test_pressed import Feed
from tests.station import Station

pytestmark = pytest.mark.realtime

CONFIGS = Path(__file__).parents[3] / "configs"
CROP = {"left": 100, "top": 40, "width": 400, "height": 400}
OPTIONS = [
    {"cameras": None},
    {},
    {
        "workspace": {"x": [0.2, 0.3], "y": [-0.1, 0.1], "z": [0.02, 0.1]},
        "control_hz": 25.0,
        "step_size": 0.01,
        "reward": "external",
        "wait": False,
    },
]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory):
    try:
        station = Station(tmp_path_factory.mktemp("spaces") / "arms", cameras=True)
    except RuntimeError as error:
        pytest.skip(f"no off-screen OpenGL on this machine: {error}")
    with station:
        yield station


def options_of(station: Station, change: dict) -> dict:
    options = station.env_options() | change
    options["follower"] |= {"letting_go": {"ramp_time": 0.1}}
    if "workspace" in change:
        for camera, size in (("front", 64), ("wrist", 96)):
            options["cameras"][camera] |= {"crop": CROP, "size": size}
    return options


@pytest.mark.parametrize("change", OPTIONS, ids=["blind", "seeing", "changed"])
def test_spaces_are_those_of_the_real_environment(station: Station, change: dict) -> None:
    options = options_of(station, change)
    told = physical_spaces(options)
    env = make_physical(**options, keys=Feed())
    try:
        assert told == (env.observation_space, env.action_space)
    finally:
        env.close()


def test_physical_spaces_opens_no_arm_and_no_camera() -> None:
    nowhere = {"port": "nowhere", "calibration": "nowhere.json"}
    observed, taken = physical_spaces(
        {"follower": nowhere, "leader": nowhere, "cameras": {"front": {"source": "nowhere"}}}
    )
    simulated = gymnasium.make("envs:SO101TouchCube-v0", cameras=["front"])
    assert (observed, taken) == (simulated.observation_space, simulated.action_space)
    simulated.close()


def test_the_shipped_settings_have_spaces() -> None:
    values = yaml.safe_load((CONFIGS / "so101_real.yaml").read_text())
    observed, taken = physical_spaces(values["env"])
    assert set(observed.spaces) == {"state", *values["env"]["cameras"]}
    assert taken.shape == (4,) and np.isfinite(taken.high).all()


def test_workspace_and_frame_size_change_the_spaces() -> None:
    plain, _ = physical_spaces({})
    boxed, _ = physical_spaces({"workspace": OPTIONS[2]["workspace"]})
    assert plain != boxed
    camera = {"source": "nowhere", "size": 64}
    assert physical_spaces({"cameras": {"front": camera}})[0]["front"].shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": {"front": {}}}, "lacks 'source'"),
        ({"cameras": {"front": {"source": 0, "crop": {"left": 0}}}}, "crop"),
        ({"workspace": {"x": [0.3, 0.2]}}, "workspace"),
        ({"control_hz": 0}, "control_hz"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        physical_spaces(options)
