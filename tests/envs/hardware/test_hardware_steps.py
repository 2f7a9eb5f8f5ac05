"""Hardware steps: measurement times and interruptions."""

import re
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from envs.frames import CameraError
from envs.hardware.errors import PortLostError, TorqueOffError
from envs.hardware.hardware_steps import HardwareSteps
from envs.hardware.letting_go.letting_go import NotArrivedError
from envs.interfaces import HardwareError
from envs.kinematics import HOME
from envs.so101 import SO101Env
from envs.tasks.real_table import RealTable
from tests.envs.test_so101 import PerfectArm

MOVE = np.array([0.0, 1.0, 0.0, 0.0], np.float32)


class MeasuredArm(PerfectArm):
    """Arm without physics, with the telemetry of ``FeetechArm``."""

    def __init__(self):
        super().__init__()
        self.pace = SimpleNamespace(pauses=0, overruns=0)
        self.link = SimpleNamespace(newest=None)
        self.held, self.limited, self.fault = "", (), ""
        self.acknowledged = 0
        self.happens = {}  # by call

    def reset(self, joint_positions):
        self.happens.get("reset", lambda: None)()
        super().reset(joint_positions)
        self.measure(10.0)

    def command(self, joint_targets):
        self.happens.pop("command", lambda: None)()
        super().command(joint_targets)
        self.measure(self.link.newest.time + 0.1)

    def measure(self, now):
        self.link.newest = SimpleNamespace(time=now)

    def acknowledge(self):
        self.acknowledged += 1

    def pause(self, times=1):
        self.pace.pauses += times


class Judged(gymnasium.Wrapper):
    """Wrapper that reports a success at every step."""

    def step(self, action):
        observation, *_, info = super().step(action)
        return observation, 1.0, True, False, info


def cameras(**times):
    return SimpleNamespace(timestamps=times)


def steps(judged=False, seen=None):
    arm = MeasuredArm()
    env = SO101Env(arm, None, RealTable(), reward="external")
    return arm, HardwareSteps(Judged(env) if judged else env, arm, seen)


def begun(**options):
    arm, env = steps(**options)
    return arm, env, env.reset(seed=0)[0]


def test_a_carried_out_step_is_unchanged():
    arm, env, _ = begun(judged=True)
    observation, reward, terminated, truncated, info = env.step(MOVE)
    assert (reward, terminated, truncated) == (1.0, True, False)
    np.testing.assert_allclose(observation["state"][:6], arm.positions, atol=1e-6)
    assert info["interrupted"] == ""
    assert info["is_intervention"] is False, "what the environment says stays"


def test_reset_and_step_report_their_measurement():
    arm, env = steps(seen=cameras(wrist=10.02, front=9.95))
    _, info = env.reset(seed=0)
    assert info["start"] == ""
    measured = {"state_time", "frame_times", "skew", "overruns", "limited", "interrupted"}
    assert {name: info[name] for name in measured} == {
        "state_time": 10.0,
        "frame_times": {"wrist": 10.02, "front": 9.95},
        "skew": pytest.approx(0.05),
        "overruns": 0,
        "limited": (),
        "interrupted": "",
    }
    arm.pace.overruns, arm.limited = 3, ("speed", "workspace")
    *_, info = env.step(MOVE)
    assert info["state_time"] == pytest.approx(10.1)
    assert info["skew"] == pytest.approx(0.15)
    assert (info["overruns"], info["limited"]) == (3, ("speed", "workspace"))


@pytest.mark.parametrize(
    ("times", "skew"),
    [({"wrist": 9.7}, 0.3), ({"wrist": 10.3}, 0.3), ({"wrist": 9.9, "front": 10.2}, 0.2), ({}, 0)],
)
def test_skew_is_the_largest_time_between_joints_and_a_frame(times, skew):
    _, env = steps(seen=cameras(**times))
    assert env.reset(seed=0)[1]["skew"] == pytest.approx(skew)


def test_frame_times_are_those_of_their_step():
    seen = cameras(wrist=10.0)
    _, env = steps(seen=seen)
    _, info = env.reset(seed=0)
    seen.timestamps["wrist"] = 10.1
    *_, later = env.step(MOVE)
    assert (info["frame_times"], later["frame_times"]) == ({"wrist": 10.0}, {"wrist": 10.1})


def test_without_cameras_there_is_no_skew():
    _, env = steps()
    _, info = env.reset(seed=0)
    assert (info["frame_times"], info["skew"]) == ({}, 0.0)


@pytest.mark.parametrize("cause", ["held", "paused"])
@pytest.mark.parametrize("judged", [False, True])
def test_an_interrupted_step_ends_the_episode_with_the_observation_before_it(cause, judged):
    arm, env, _ = begun(judged=judged)
    last, *_ = env.step(MOVE)
    if cause == "held":
        arm.held = "elbow_flex has been above 60 degrees for 0.5 s"
    else:
        arm.happens["command"] = arm.pause
    observation, reward, terminated, truncated, info = env.step(MOVE)
    assert (reward, terminated, truncated) == (0.0, False, True)
    np.testing.assert_array_equal(observation["state"], last["state"])
    assert not np.allclose(arm.positions, last["state"][:6]), "the arm has gone on"
    expected = arm.held if cause == "held" else "nobody gave commands for a while"
    assert info["interrupted"].startswith(expected)
    assert info["state_time"] == pytest.approx(10.2)


def test_an_interrupted_first_step_ends_with_the_start():
    arm, env, start = begun()
    arm.held = "the reading is stale"
    observation, *_ = env.step(MOVE)
    np.testing.assert_array_equal(observation["state"], start["state"])


def test_after_interruptions_the_observation_is_still_the_last_one_before_them():
    arm, env, start = begun()
    arm.held = "the reading is stale"
    env.step(MOVE)
    observation, *_ = env.step(MOVE)
    np.testing.assert_array_equal(observation["state"], start["state"])
    arm.held = ""
    observation, *_, info = env.step(MOVE)
    assert info["interrupted"] == ""
    np.testing.assert_allclose(observation["state"][:6], arm.positions, atol=1e-6)


def test_a_pause_interrupts_one_step_and_no_other():
    arm, env, _ = begun()
    arm.happens["command"] = arm.pause
    said = [bool(env.step(MOVE)[-1]["interrupted"]) for _ in range(3)]
    assert said == [True, False, False]


def test_a_hold_after_a_pause_interrupts_the_next_step():
    arm, env, _ = begun()
    arm.happens["command"] = arm.pause
    arm.held = "the elbow is too hot"
    assert "nobody gave commands" in env.step(MOVE)[-1]["interrupted"]
    assert env.step(MOVE)[-1]["interrupted"] == "the elbow is too hot"


def test_pauses_before_the_first_step_do_not_count():
    arm, env = steps()
    arm.pause(3)
    arm.happens["reset"] = arm.pause
    for _ in range(2):
        env.reset(seed=0)
        assert env.step(MOVE)[-1]["interrupted"] == ""


def test_a_hold_before_the_first_step_does_not_interrupt_the_reset():
    arm, env = steps()
    arm.happens["reset"] = lambda: setattr(arm, "held", "no command has been carried out yet")
    observation, info = env.reset(seed=0)
    assert info["interrupted"] == ""
    np.testing.assert_allclose(observation["state"][:6], HOME, atol=0.06)


def test_seed_and_options_of_a_reset_reach_the_environment():
    _, env = steps()
    observation, _ = env.reset(seed=0, options={"joint_positions": HOME + 0.1})
    np.testing.assert_allclose(observation["state"][:6], HOME + 0.1, atol=1e-6)
    one, other = (steps()[1].reset(seed=5)[0]["state"] for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_programs_find_the_arm_through_wrappers():
    arm, env = steps()
    assert gymnasium.Wrapper(env).get_wrapper_attr("physical_arm") is arm


def raising(error):
    def happens():
        raise error

    return happens


FAILURES = [
    PortLostError("/dev/arm", "it was pulled"),
    CameraError("camera 'wrist' delivered no new frame for 0.9 s"),
    TorqueOffError("the arm is released"),
    NotArrivedError("elbow_flex stays 0.3 rad from its target"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failed_step_ends_the_episode_before_it(error):
    arm, env, start = begun()
    arm.happens["command"] = raising(error)
    observation, reward, terminated, truncated, info = env.step(MOVE)
    assert (reward, terminated, truncated) == (0.0, False, True)
    np.testing.assert_array_equal(observation["state"], start["state"])
    assert info["interrupted"] == str(error) and info["state_time"] == 10.0
    assert (info["is_intervention"], info["succeed"]) == (False, False)
    assert info["teleop_action"].dtype == np.float32 and info["teleop_action"].shape == (4,)


def test_other_errors_propagate_unchanged():
    arm, env, _ = begun()
    arm.happens["command"] = raising(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        env.step(MOVE)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failed_reset_raises_a_hardware_error(error):
    arm, env = steps()
    arm.happens["reset"] = raising(error)
    with pytest.raises(HardwareError, match=re.escape(str(error))):
        env.reset(seed=0)


def test_check_reads_arm_and_cameras():
    read = []
    seen = SimpleNamespace(timestamps={}, read=lambda: read.append("cameras"))
    arm, env = steps(seen=seen)
    arm.positions = HOME + 0.1
    np.testing.assert_array_equal(env.check(), HOME + 0.1)
    assert read == ["cameras"]
    arm.fault = "elbow_flex is at 65 °C"
    with pytest.raises(HardwareError, match="elbow_flex is at 65 °C"):
        env.check()
    seen.read = raising(CameraError("camera 'front' is lost"))
    with pytest.raises(HardwareError, match="camera 'front' is lost"):
        env.check()


def test_an_interrupted_first_step_returns_the_last_look():
    arm, env, _ = begun()
    arm.positions = HOME + 0.1
    arm.measure(99.0)
    observation, measured = env.look()
    np.testing.assert_allclose(observation["state"][:6], HOME + 0.1, atol=1e-6)
    assert measured["state_time"] == 99.0
    arm.held = "the reading is stale"
    np.testing.assert_array_equal(env.step(MOVE)[0]["state"], observation["state"])


def test_acknowledge_reaches_the_arm_or_raises_a_hardware_error():
    arm, env = steps()
    env.acknowledge()
    assert arm.acknowledged == 1
    arm.acknowledge = raising(PortLostError("/dev/arm", "it was pulled"))
    with pytest.raises(HardwareError, match="it was pulled"):
        env.acknowledge()
