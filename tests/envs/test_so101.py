"""Environment of the SO101."""

import gymnasium
import numpy as np
import pytest

from envs.frames import CameraError
from envs.interfaces import ArmState
from envs.kinematics import HOME, Kinematics
from envs.so101 import SO101Env


class PerfectArm:
    """Arm without physics, which reaches its targets at once, or is stuck."""

    def __init__(self):
        self.stuck = False
        self.positions = HOME.copy()
        self.closed = False
        self.handovers = 0

    def reset(self, joint_positions):
        self.positions = np.array(joint_positions)

    def handover(self):
        self.handovers += 1

    def command(self, joint_targets):
        self.targets = joint_targets
        if not self.stuck:
            self.positions = joint_targets.copy()

    def read(self):
        return ArmState(self.positions.copy(), np.zeros(6), np.zeros(6))

    def close(self):
        self.closed = True


class OpenTask:
    """Task that is done only when a test says so."""

    done = False

    def start_name(self):
        return ""

    def start(self, rng):
        return HOME + rng.uniform(-0.01, 0.01, 6)

    def object_bounds(self):
        return -np.ones(2), np.ones(2)

    def objects(self):
        return np.array([5.0, 0.5])

    def succeeded(self):
        return self.done

    def progress(self):
        return 0.25


class StillCameras:
    closed = False

    def __init__(self, shape=(128, 128, 3)):
        self.shapes = {"wrist": shape}
        self.frame = np.full(shape, 7, np.uint8)

    def read(self):
        return {"wrist": self.frame}

    def close(self):
        self.closed = True


@pytest.fixture
def env():
    made = SO101Env(PerfectArm(), None, OpenTask())
    made.reset(seed=0)
    return made


def commanded_tcp(env):
    return Kinematics().forward(env.arm.targets)


def test_an_action_moves_the_command_by_its_value_times_the_step_size(env):
    before = env.tcp
    env.step([0.5, -1.0, 0.25, 0.0])
    np.testing.assert_allclose(env.tcp - before, [0.01, -0.02, 0.005], atol=1e-4)


def test_the_command_is_integrated_not_the_measured_pose(env):
    before = env.tcp
    env.arm.stuck = True
    for _ in range(3):
        env.step([0.0, 0.5, 0.0, 0.0])
    np.testing.assert_allclose(commanded_tcp(env) - before, [0, 0.03, 0], atol=1e-4)


def test_synchronize_sets_the_command_to_the_measured_tcp(env):
    before = env.tcp
    env.arm.stuck = True
    env.step([0.0, 1.0, 0.0, 0.0])
    env.synchronize()
    env.step(np.zeros(4))
    np.testing.assert_allclose(commanded_tcp(env), before, atol=1e-4)


def test_the_command_stays_in_the_workspace(env):
    for direction in ([1, 1, 1, 0], [-1, -1, -1, 0]):
        for _ in range(20):
            env.step(direction)
        corner = env.workspace.high if direction[0] > 0 else env.workspace.low
        np.testing.assert_allclose(env._tcp_command, corner)


def test_the_gripper_moves_by_its_rate_and_opens_when_positive(env):
    before = env.gripper_opening
    env.step([0, 0, 0, 0.5])
    assert env.gripper_opening == pytest.approx(before + 0.1)
    for _ in range(20):
        env.step([0, 0, 0, -1])
    assert env.gripper_opening == pytest.approx(-0.174533, abs=1e-5)


def test_a_stalled_gripper_opens_at_once(env):
    env.arm.stuck = True
    for _ in range(20):
        env.step([0, 0, 0, -1])
    stalled = env.arm.targets[-1]
    assert stalled == pytest.approx(env.gripper_opening - 0.15)
    env.step([0, 0, 0, 1])
    assert env.arm.targets[-1] > env.gripper_opening


def test_actions_beyond_the_box_are_clipped(env):
    before = env.tcp
    env.step([0.0, 7.0, 0.0, 0.0])
    np.testing.assert_allclose(env.tcp - before, [0, 0.02, 0], atol=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_action_that_is_not_finite_is_refused(env, bad):
    before = env.tcp
    with pytest.raises(ValueError, match="action must be finite"):
        env.step([0.0, bad, 0.0, 0.0])
    assert env.tcp.tolist() == before.tolist()


def test_an_action_of_another_shape_is_refused(env):
    with pytest.raises(ValueError, match=r"shape \(4,\), got shape \(3,\)"):
        env.step([0.0, 0.0, 0.0])


def test_observations_are_clipped_into_their_space(env):
    observation, *_ = env.step(np.zeros(4))
    assert observation["objects"].tolist() == [1.0, 0.5]
    env.arm.positions = np.full(6, 9.0)
    observation, *_ = env.step([0, 0, 0, 0])
    assert env.observation_space.contains(observation)


def test_the_state_has_the_layout_of_the_contract(env):
    env.arm.read = lambda: ArmState(HOME, np.arange(6) / 10, -np.arange(6) / 10)
    observation, *_ = env.step(np.zeros(4))
    state = observation["state"]
    np.testing.assert_allclose(state[:6], HOME, rtol=1e-6)
    np.testing.assert_allclose(state[6:12], np.arange(6) / 10, rtol=1e-6)
    np.testing.assert_allclose(state[12:18], -np.arange(6) / 10, rtol=1e-6)
    np.testing.assert_allclose(state[18:], Kinematics().forward(HOME), rtol=1e-6)


def test_success_terminates_with_reward_one(env):
    env.task.done = True
    _, reward, terminated, truncated, info = env.step(np.zeros(4))
    assert (reward, terminated, truncated, info["succeed"]) == (1.0, True, False, True)


def test_an_external_judge_decides_alone():
    env = SO101Env(PerfectArm(), None, OpenTask(), reward="external")
    _, info = env.reset(seed=0)
    assert (info["succeed"], info["task_succeed"]) == (False, False)
    for done in (False, True, True, False):
        env.task.done = done
        _, reward, terminated, truncated, info = env.step(np.zeros(4))
        assert (reward, terminated, truncated, info["succeed"]) == (0.0, False, False, False)
        assert info["task_succeed"] is done


def test_task_succeed_is_reported_only_with_an_external_reward(env):
    _, info = env.reset(seed=0)
    assert "task_succeed" not in info
    assert "task_succeed" not in env.step(np.zeros(4))[-1]


def test_cameras_replace_the_objects_and_are_closed_with_the_arm():
    env = SO101Env(PerfectArm(), StillCameras(), OpenTask())
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"state", "wrist"}
    assert env.observation_space.contains(observation)
    env.close()
    assert env.arm.closed
    assert env.cameras.closed


def test_frames_have_the_shapes_of_the_cameras():
    env = SO101Env(PerfectArm(), StillCameras((48, 64, 3)), OpenTask())
    assert env.observation_space["wrist"].shape == (48, 64, 3)
    assert env.observation_space.contains(env.reset(seed=0)[0])


@pytest.mark.parametrize(
    "frame", [np.zeros((128, 128, 3), np.uint8), np.full((64, 64, 3), 7, np.uint8)]
)
def test_a_bad_frame_is_refused_at_reset_and_at_every_step(frame):
    env = SO101Env(PerfectArm(), StillCameras(), OpenTask())
    good = env.cameras.frame
    env.cameras.frame = frame
    with pytest.raises(CameraError, match="camera 'wrist' delivered"):
        env.reset(seed=0)
    env.cameras.frame = good
    env.reset(seed=0)
    env.cameras.frame = frame
    with pytest.raises(CameraError, match="camera 'wrist' delivered"):
        env.step(np.zeros(4))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("control_hz", 0),
        ("control_hz", 200),
        ("step_size", -0.01),
        ("step_size", "wide"),
        ("step_size", True),
        ("reward", "shaped"),
    ],
)
def test_options_out_of_range_are_refused_by_name(option, value):
    with pytest.raises(ValueError, match=option):
        SO101Env(PerfectArm(), None, OpenTask(), **{option: value})


def test_the_papers_rig_has_its_step_size_and_box():
    box = {"x": [0.18, 0.40], "y": [-0.03, 0.14], "z": [0.02, 0.09]}
    env = gymnasium.make(
        "envs:SO101TouchCube-v0", control_hz=8, step_size=0.01, workspace=box
    ).unwrapped
    env.reset(seed=0)
    start = env.tcp
    env.step([0.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose((env.tcp - start)[1], 0.01, atol=2e-3)
    assert env.task.scene.data.time == pytest.approx(1 / 8)


def test_an_unstable_simulation_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes MUJOCO_LOG.TXT where it runs
    env = gymnasium.make("envs:SO101TouchCube-v0").unwrapped
    env.reset(seed=0)
    env.task.scene.data.qvel[6] = np.nan
    with pytest.raises(RuntimeError, match="unstable"):
        env.step(np.zeros(4))
    env.reset(seed=0)
    env.step(np.zeros(4))


def test_a_reset_starts_at_the_given_joint_positions():
    env = SO101Env(PerfectArm(), None, OpenTask())
    start = HOME + 0.1
    observation, _ = env.reset(seed=0, options={"joint_positions": start})
    assert observation["state"][:6] == pytest.approx(start, abs=1e-6)
    with pytest.raises(ValueError, match="joint_positions must be 6 finite numbers"):
        env.reset(options={"joint_positions": [np.nan] * 6})
    with pytest.raises(ValueError, match=r"options are \['joint_positions'\], got \['start'\]"):
        env.reset(options={"start": start})


def test_look_sets_the_command_to_where_the_arm_is():
    arm = PerfectArm()
    env = SO101Env(arm, None, OpenTask())
    env.reset(seed=0)
    arm.positions = HOME + np.array([0.2, 0, 0, 0, 0, 0])
    before = arm.handovers
    observation = env.look()
    assert observation["state"][:6] == pytest.approx(arm.positions, abs=1e-6)
    assert env.tcp_command == pytest.approx(Kinematics().forward(arm.positions))
    assert arm.handovers == before + 1, "someone else may give the commands now"


class UnseenTask(OpenTask):
    """Task without privileged state and without known success."""

    done = None

    def object_bounds(self):
        return None


def test_unknown_objects_and_success_are_not_reported():
    env = SO101Env(PerfectArm(), None, UnseenTask(), reward="external")
    observation, info = env.reset(seed=0)
    assert set(env.observation_space.spaces) == set(observation) == {"state"}
    *_, terminated, _, info = env.step(np.zeros(4))
    assert not terminated and info["succeed"] is False
    assert "task_succeed" not in info


def test_cameras_are_closed_even_if_the_arm_fails():
    class Stuck(PerfectArm):
        def close(self):
            raise RuntimeError("the port is gone")

    cameras = StillCameras()
    env = SO101Env(Stuck(), cameras, OpenTask())
    with pytest.raises(RuntimeError, match="port is gone"):
        env.close()
    assert cameras.closed
