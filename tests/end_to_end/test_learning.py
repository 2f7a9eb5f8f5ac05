"""Learning end to end: a small network reaches Touch Cube with a person's help."""

from pathlib import Path

import pytest

from e2hil_rllib.commands.record import record_demonstrations
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.settings.run_settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

TASK = "envs:SO101TouchCube-v0"


@pytest.mark.slow
def test_touch_cube_is_learned_with_a_persons_help(tmp_path: Path) -> None:
    """750 steps: ≥ 90 % alone from both starts, and the person is hardly needed."""
    env = {"operator": {"skill": 0.8, "attention": 0.9}}
    settings = {"task": TASK, "env": env, "seed": 0, "stop": {"steps": 1}}
    record_demonstrations(Settings.model_validate(settings), tmp_path, 10)
    algo = (
        E2HiLConfig()
        .environment(TASK, env_config=env)
        .human_in_the_loop(demonstrations=tmp_path)
        .training(
            hidden_sizes=(64, 64), encoder_size=64, train_batch_size_per_learner=128,
            actor_lr=1e-3, critic_lr=1e-3, alpha_lr=1e-3, highest_return=1.0,
            steps_per_iteration=250,
        )
        .debugging(seed=0)
        .build_algo()
    )  # fmt: skip
    human = [algo.train()["num_human_steps_lifetime"] for _ in range(3)][-1]
    episodes = list(algo.evaluate_episodes(30, seed=1000))
    algo.stop()
    for start in ("left", "right"):
        successes = [e["success"] for e in episodes if e["info"]["start"] == start]
        assert len(successes) > 5
        assert sum(successes) >= 0.9 * len(successes)
    assert human <= 60
