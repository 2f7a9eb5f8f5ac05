"""Scripted expert."""

import gymnasium
import numpy as np
import pytest

from envs.operators import Expert
from envs.operators.expert import waypoint
from envs.tasks import Subgoal

TASKS = ("TouchCube", "PickCube", "PickPlaceCube", "PushCube", "StackBlocks")


def solve(env):
    """Let the expert finish the episode; return whether it succeeded and the number of steps."""
    expert = Expert(env.unwrapped)
    for steps in range(1, 1000):
        action = expert.act()
        assert env.action_space.contains(action.astype(np.float32))
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return info["succeed"], steps
    raise AssertionError("the episode never ended")


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_solves_every_task_well_within_its_limit(task):
    env = gymnasium.make(f"envs:SO101{task}-v0")
    outcomes = []
    for seed in range(1000, 1010):
        env.reset(seed=seed)
        outcomes.append(solve(env))
    successes, steps = zip(*outcomes, strict=True)
    assert all(successes)
    assert np.mean(steps) < 0.3 * env.spec.max_episode_steps


@pytest.mark.parametrize("task", TASKS[1:])
def test_the_expert_takes_over_at_any_moment(task):
    env = gymnasium.make(f"envs:SO101{task}-v0", max_episode_steps=250)
    solved = []
    for seed in range(8):
        env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        expert = Expert(env.unwrapped)
        # A policy that knocks things about and drops what the expert holds at times.
        for step in range(20 + 7 * seed):
            wild = rng.uniform([-1, -1, -1.3, -1], [1, 1, 0.7, 1])
            terminated = env.step(expert.act() if step % 20 > 8 else wild)[2]
            if terminated:
                break
        else:
            solved.append(solve(env)[0])
    assert len(solved) >= 3
    assert all(solved)


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_solves_the_tasks_on_the_papers_rig(task):
    env = gymnasium.make(
        f"envs:SO101{task}-v0",
        control_hz=8,
        step_size=0.01,
        workspace={"x": [0.18, 0.40], "y": [-0.03, 0.14], "z": [0.02, 0.09]},
    )
    for seed in range(4):
        env.reset(seed=seed)
        assert solve(env)[0]


def test_with_a_clearance_the_way_goes_up_then_across_then_down():
    goal = Subgoal(tcp=np.array([0.2, 0.1, 0.012]), clearance=0.06)
    assert waypoint(goal, np.array([0.2, 0.0, 0.012])).tolist() == [0.2, 0.0, 0.06]
    assert waypoint(goal, np.array([0.2, 0.0, 0.06])).tolist() == [0.2, 0.1, 0.06]
    assert waypoint(goal, np.array([0.2, 0.099, 0.06])).tolist() == [0.2, 0.1, 0.012]


def test_the_way_has_no_corners():
    """A change of a millimetre moves the next point by some millimetres, never by a phase."""
    goal = Subgoal(tcp=np.array([0.2, 0.1, 0.012]), clearance=0.06)
    for height in np.arange(0.01, 0.09, 0.005):
        for distance in np.arange(0.0, 0.08, 0.001):
            here = np.array([0.2, 0.1 - distance, height])
            for moved in ((0, 0.001, 0), (0, 0, 0.001)):
                there = here + np.array(moved)
                apart = np.abs((waypoint(goal, there) - there) - (waypoint(goal, here) - here))
                assert apart.max() < 0.01, (here, there)


def test_without_a_clearance_the_way_is_straight():
    goal = Subgoal(tcp=np.array([0.2, 0.1, 0.012]))
    assert waypoint(goal, np.array([0.2, 0.0, 0.1])).tolist() == [0.2, 0.1, 0.012]


def test_the_expert_needs_a_simulated_task():
    env = gymnasium.make("envs:SO101TouchCube-v0").unwrapped
    env.task = object()
    with pytest.raises(TypeError, match="simulated task with subgoals"):
        Expert(env)
