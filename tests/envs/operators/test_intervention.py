"""Wrapper through which an operator takes over."""

import gymnasium
import numpy as np
import pytest

from envs.operators import InterventionWrapper
from envs.so101 import SO101Env


class Scripted:
    """Operator with scripted actions."""

    def __init__(self, *actions):
        self.actions = list(actions)
        self.seeds = []

    def reset(self, env, seed):
        assert isinstance(env, SO101Env)
        self.seeds.append(seed)

    def act(self):
        return self.actions.pop(0)


def led_by(*actions):
    bare = gymnasium.make("envs:SO101TouchCube-v0").unwrapped
    env = InterventionWrapper(bare, Scripted(*actions))
    _, info = env.reset(seed=5)
    assert info["is_intervention"] is False
    assert info["teleop_action"].tolist() == [0, 0, 0, 0]
    return env


def test_the_operators_action_is_executed_in_place_of_the_policys():
    env = led_by(np.array([0.0, 0.5, 0.0, 0.0]))
    before = env.unwrapped.tcp
    *_, info = env.step(np.array([0.0, -1.0, 0.0, 0.0]))
    assert env.unwrapped.tcp[1] - before[1] > 0.005
    assert info["is_intervention"] is True
    assert info["teleop_action"].dtype == np.float32
    assert info["teleop_action"].tolist() == [0.0, 0.5, 0.0, 0.0]


def test_the_policys_action_is_executed_while_nobody_leads():
    env = led_by(None)
    before = env.unwrapped.tcp
    *_, info = env.step(np.array([0.0, -0.5, 0.0, 0.0]))
    assert env.unwrapped.tcp[1] - before[1] < -0.005
    assert info["is_intervention"] is False
    assert info["teleop_action"].tolist() == [0, 0, 0, 0]


def test_the_operators_action_is_clipped_to_the_box():
    env = led_by(np.array([9.0, -9.0, 0.0, 0.0]))
    *_, info = env.step(np.zeros(4))
    assert info["teleop_action"].tolist() == [1, -1, 0, 0]
    assert env.action_space.contains(info["teleop_action"])


def test_the_operators_array_is_not_changed():
    action = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    env = led_by(action, action)
    *_, first = env.step(np.zeros(4))
    first["teleop_action"][:] = 7
    *_, second = env.step(np.zeros(4))
    assert second["teleop_action"].tolist() == action.tolist()


def test_every_change_of_control_sets_the_command_to_the_measured_pose(monkeypatch):
    step = np.full(4, 0.1)
    env = led_by(None, step, step, None, None, step)
    calls = []
    monkeypatch.setattr(env.unwrapped, "synchronize", lambda: calls.append(len(steps)))
    steps = []
    for _ in range(6):
        steps.append(env.step(np.zeros(4)))
    assert calls == [1, 3, 5]


def test_success_under_the_operators_hand_is_reported():
    env = gymnasium.make("envs:SO101TouchCube-v0", operator={"mode": "demonstrate", "skill": 1.0})
    env.reset(seed=0)
    over = False
    while not over:
        _, reward, terminated, truncated, info = env.step(np.zeros(4))
        over = terminated or truncated
    assert terminated
    assert (reward, info["succeed"], info["is_intervention"]) == (1.0, True, True)


def test_the_operator_gets_the_seed_of_each_reset():
    env = led_by(None)
    env.reset()
    assert env._operator.seeds == [5, None]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.array([0.0, np.nan, 0.0, 0.0]), "the operator's action must be finite"),
        (np.zeros(6), r"the operator's action must have shape \(4,\), got shape \(6,\)"),
    ],
)
def test_invalid_actions_of_the_operator_are_refused(action, message):
    env = led_by(action)
    with pytest.raises(ValueError, match=message):
        env.step(np.zeros(4))


def test_only_an_so101_can_be_led():
    with pytest.raises(TypeError, match="operators lead an SO101Env"):
        InterventionWrapper(gymnasium.make("Pendulum-v1"), Scripted())
