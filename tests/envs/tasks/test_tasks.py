"""Properties of every task, with every reward."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.kinematics import HOME

NAMES = {"TouchCube": 6, "PickCube": 11, "PickPlaceCube": 17, "PushCube": 12, "StackBlocks": 22}
LIMITS = {
    "TouchCube": 100,
    "PickCube": 150,
    "PickPlaceCube": 200,
    "PushCube": 150,
    "StackBlocks": 250,
}

every_task = pytest.mark.parametrize("name", NAMES)
every_reward = pytest.mark.parametrize("reward", ["sparse", "dense"])


def make(name, **options):
    return gymnasium.make(f"envs:SO101{name}-v0", **options)


def equal(first, second):
    return first.keys() == second.keys() and all((first[k] == second[k]).all() for k in first)


def roll(env, seed, steps=12):
    """Return all observations and results of an episode of random actions."""
    rng = np.random.default_rng(seed)
    seen = [env.reset(seed=seed)]
    for _ in range(steps):
        seen.append(env.step(rng.uniform(-1.2, 1.2, 4)))
        if seen[-1][2] or seen[-1][3]:
            break
    return seen


@every_task
@every_reward
def test_every_observation_and_info_keeps_the_contract(name, reward):
    env = make(name, reward=reward)
    assert env.observation_space["state"].shape == (21,)
    assert env.observation_space["objects"].shape == (NAMES[name],)
    for space in env.observation_space.values():
        assert np.isfinite(space.low).all()
        assert (space.low < space.high).all()
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (4,), np.float32)
    for seed in range(8):
        seen = roll(env, seed)
        for observation, *rest in seen:
            assert env.observation_space.contains(observation)
            info = rest[-1]
            assert info["is_intervention"] is False
            assert isinstance(info["succeed"], bool)
            assert info["teleop_action"].dtype == np.float32
            assert info["teleop_action"].tolist() == [0, 0, 0, 0]
        for _, reward_value, terminated, _, info in seen[1:]:
            assert isinstance(reward_value, float)
            assert terminated == info["succeed"]
            if reward == "sparse":
                assert reward_value == float(terminated)


@every_task
@every_reward
@pytest.mark.parametrize("operator", [None, {}])
def test_an_episode_depends_on_its_seed_alone(name, reward, operator):
    env = make(name, reward=reward, operator=operator)
    first = roll(env, 7, steps=40)
    after_first = env.reset()
    roll(env, 8)
    again = roll(env, 7, steps=40)
    after_again = env.reset()
    elsewhere = roll(make(name, reward=reward, operator=operator), 7, steps=40)
    for repeated in (again, elsewhere):
        assert len(first) == len(repeated)
        for (one, *rest_one), (other, *rest_other) in zip(first, repeated, strict=True):
            assert equal(one, other)
            assert rest_one[:-1] == rest_other[:-1]
            assert rest_one[-1]["is_intervention"] == rest_other[-1]["is_intervention"]
    assert equal(after_first[0], after_again[0])


@every_task
def test_with_an_external_reward_a_success_ends_nothing(name):
    env = make(name, reward="external", operator={"mode": "demonstrate", "skill": 1.0})
    env.reset(seed=1)
    seen = [env.step(np.zeros(4)) for _ in range(LIMITS[name] // 2)]
    assert not any(terminated or truncated for _, _, terminated, truncated, _ in seen)
    assert not any(reward or info["succeed"] for _, reward, _, _, info in seen)
    assert any(info["task_succeed"] for *_, info in seen)


@every_task
def test_a_watching_person_does_not_change_the_starts(name):
    alone, watched = make(name), make(name, operator={})
    for seed in (4, None, None):
        assert equal(alone.reset(seed=seed)[0], watched.reset(seed=seed)[0])
        watched.step(np.zeros(4))


@every_task
def test_starts_differ_and_none_is_solved(name):
    env = make(name)
    starts = []
    for seed in range(30):
        observation, info = env.reset(seed=seed)
        assert not info["succeed"]
        assert not env.unwrapped.task.succeeded()
        assert env.unwrapped.task.progress() < 1
        starts.append(np.concatenate([observation["state"][:6], observation["objects"]]))
    spread = np.ptp(starts, axis=0)
    assert (spread[:6] > 0.05).all()
    assert len(np.unique(starts, axis=0)) == 30


@every_task
def test_observations_share_no_memory(name):
    env = make(name)
    first, info = env.reset(seed=0)
    second, *_, later_info = env.step(np.zeros(4))
    third, *_ = env.step(np.ones(4))
    for key in first:
        for one, other in ((first, second), (second, third)):
            assert not np.shares_memory(one[key], other[key])
    assert not np.shares_memory(info["teleop_action"], later_info["teleop_action"])


@every_task
def test_the_time_limit_truncates(name):
    env = make(name)
    assert env.spec.max_episode_steps == LIMITS[name]
    env = make(name, max_episode_steps=3)
    env.reset(seed=0)
    ends = [env.step(np.zeros(4))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


@every_task
@pytest.mark.filterwarnings("error::UserWarning")
def test_gymnasiums_checker_passes(name):
    # The checker looks at the bare environment; it has no render mode to check.
    check_env(make(name).unwrapped, skip_render_check=True)


@every_task
def test_the_dense_reward_sums_to_the_progress_made(name):
    env = make(name, reward="dense")
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    before = env.unwrapped.task.progress()
    total = 0.0
    for _ in range(10):
        _, reward, terminated, *_ = env.step(rng.uniform(-1, 1, 4))
        total += reward - terminated
        if terminated:
            break
    assert total == pytest.approx(env.unwrapped.task.progress() - before)


def test_a_workspace_out_of_the_cubes_reach_is_refused_at_reset():
    env = make("PickCube", workspace={"x": [0.38, 0.44]})
    with pytest.raises(RuntimeError, match="widen the workspace toward the arm"):
        env.reset(seed=0)


def test_a_task_that_starts_solved_is_reported(monkeypatch):
    env = make("TouchCube").unwrapped
    monkeypatch.setattr(env.task, "succeeded", lambda: True)
    with pytest.raises(RuntimeError, match="already solved"):
        env.reset(seed=0)


def test_touch_cube_names_its_two_starts():
    env = gymnasium.make("envs:SO101TouchCube-v0")
    sides = {}
    for seed in range(12):
        observation, info = env.reset(seed=seed)
        sides.setdefault(info["start"], []).append(observation["objects"][1])
        assert env.step(np.zeros(4))[4]["start"] == info["start"]
    assert set(sides) == {"left", "right"}
    assert min(sides["left"]) > 0 > max(sides["right"])
    anywhere = gymnasium.make("envs:SO101TouchCube-v0", cube_positions="workspace")
    assert anywhere.reset(seed=0)[1]["start"] == ""


def test_the_arm_starts_near_home():
    env = make("TouchCube")
    for seed in range(5):
        joints = env.reset(seed=seed)[0]["state"][:6]
        assert np.abs(joints - HOME).max() <= 0.05 + 1e-6
