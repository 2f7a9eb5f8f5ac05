"""Environment of a physical arm: for a policy the same as the simulated one."""

import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.hardware.robot import make_physical
from envs.interfaces import HardwareError
from envs.operators.keys import KeyEvent
from envs.virtual.mjpeg import Fault
from tests.envs.operators.test_pressed import Feed
from tests.patience import MARGIN, stretched
from tests.station import Station

pytestmark = pytest.mark.realtime

CAMERAS = ("front", "wrist")
STALE_WITHIN = 1.0  # [s]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory):
    try:
        station = Station(tmp_path_factory.mktemp("robot") / "arms", cameras=True)
    except RuntimeError as error:
        pytest.skip(f"no off-screen OpenGL on this machine: {error}")
    with station:
        yield station


def options_of(station: Station, **others: Any) -> dict[str, Any]:
    options = station.env_options(**others)
    for arm in ("follower", "leader"):
        options[arm]["margin"] = MARGIN
    return options


@pytest.fixture
def env(station: Station):
    options = options_of(station, start_noise=0.0)
    options["follower"] |= {"reset_speed": 1.5, "letting_go": {"ramp_time": 0.3}}
    keys = Feed()

    def begin(line: str) -> None:
        if line.startswith(("ready", "it can be used again")):
            keys.press(KeyEvent.GIVE_BACK)

    env = make_physical(**options, keys=keys)
    env.announce = begin
    yield env
    env.close()


def test_spaces_and_infos_are_those_of_the_simulation(env) -> None:
    simulated = gymnasium.make("envs:SO101TouchCube-v0", cameras=list(CAMERAS))
    assert env.observation_space == simulated.observation_space
    assert env.action_space == simulated.action_space
    observation, info = env.reset(seed=0)
    expected = set(simulated.reset(seed=0)[1])
    assert env.observation_space.contains(observation) and expected <= set(info)
    before = env.unwrapped.tcp
    for _ in range(5):
        observation, reward, terminated, truncated, info = env.step(np.array([0.0, 1.0, 0.0, 0.0]))
        assert env.observation_space.contains(observation) and expected <= set(info)
        assert (reward, terminated, truncated, info["interrupted"]) == (0.0, False, False, "")
        assert set(info["frame_times"]) == set(CAMERAS) and 0.0 <= info["skew"] < stretched(0.3)
    assert env.unwrapped.tcp[1] > before[1] + 0.02


def test_the_loop_keeps_its_rate(env) -> None:
    env.reset(seed=0)
    for _ in range(4):  # a machine with other work may be too slow for some of it
        read = [env.step(np.zeros(4))[-1]["state_time"] for _ in range(12)]
        period = np.median(np.diff(read))
        if period < 0.1 + stretched(0.01):
            break
    assert period == pytest.approx(0.1, abs=stretched(0.01))


def test_a_dead_camera_interrupts_the_step_with_its_name(env, station: Station) -> None:
    env.reset(seed=0)
    env.step(np.zeros(4))
    spoiled = station.ask("spoil", "wrist", Fault.STALL)
    interrupted = ""
    while not interrupted:
        observation, _, _, truncated, info = env.step(np.zeros(4))
        interrupted = info["interrupted"]
        assert time.monotonic() < spoiled + stretched(10.0)
    told = time.monotonic()
    station.ask("spoil", "wrist", None)
    assert truncated and "camera 'wrist'" in interrupted
    assert told - spoiled < STALE_WITHIN + stretched(0.2), (
        "a period, and a frame that was on its way"
    )
    assert env.observation_space.contains(observation)
    env.reset(seed=0)
    assert env.step(np.zeros(4))[-1]["interrupted"] == ""


def test_nothing_moves_before_the_first_reset_and_close_switches_everything_off(
    station: Station,
) -> None:
    options = options_of(station, cameras=None)
    options["follower"] |= {"letting_go": {"ramp_time": 0.3}}
    before = len(station.ask("goals", "follower"))
    env = make_physical(**options, keys=Feed())
    assert len(station.ask("goals", "follower")) == before
    env.close()
    for arm in ("follower", "leader"):
        assert station.ask("registers", arm, "Torque_Enable") == [0] * 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camras": {}}, "did you mean 'cameras'"),
        ({"reward": "sparse"}, "reward must be one of"),
        ({"control_hz": 0}, "control_hz"),
        ({"operator": {"mode": "watch"}}, r"operator\.mode must be one of"),
        ({"leader": None, "operator": {"mode": "demonstrate"}}, "there is no leader"),
        ({"cameras": {"front": {}}}, "lacks 'source'"),
        ({"safety": {"max_sped": 1}}, "max_speed"),
        ({"start": [0.0] * 5}, "start must be 6 angles"),
        ({"pedal": 2}, "pedal must be the path of a terminal device"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(
    station: Station, change: dict, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make_physical(**(station.env_options() | change), keys=Feed())


def test_a_missing_pedal_is_named_before_anything_is_opened(
    station: Station, tmp_path: Path
) -> None:
    keys = Feed()
    with pytest.raises(HardwareError, match=f"the pedal {tmp_path / 'none'} cannot be read"):
        make_physical(**(station.env_options() | {"pedal": str(tmp_path / "none")}), keys=keys)
    assert keys.closed


def test_a_missing_camera_leaves_the_arms_alone(station: Station, tmp_path: Path) -> None:
    cameras = {"front": {"source": str(tmp_path / "none.avi")}}
    with pytest.raises(RuntimeError, match="camera 'front' cannot be opened"):
        make_physical(**(station.env_options() | {"cameras": cameras}), keys=Feed())
    assert station.ask("registers", "follower", "Torque_Enable") == [0] * 6
