"""What an environment says of itself, and what is said of one that cannot be made."""

import gymnasium as gym
import pytest

from e2hil_rllib.settings.environments import control_rate, fault_in_words, make_environment
from tests.helpers import ReachEnv


def test_gymnasiums_addition_to_an_error_is_left_out() -> None:
    with pytest.raises(TypeError) as raised:
        make_environment("tests.helpers:E2HiLReach-v0", {"colour": 1})
    assert "was raised from the environment creator" in str(raised.value)
    words = fault_in_words(raised.value)
    assert "colour" in words and "environment creator" not in words


def test_the_rate_is_the_environments_own_else_its_rendering_rate_else_ten() -> None:
    env: gym.Env = ReachEnv()
    assert control_rate(env) == 10.0
    env.metadata = {"render_fps": 25}
    assert control_rate(env) == 25.0
    env.control_hz = 8.0
    assert control_rate(env) == 8.0
