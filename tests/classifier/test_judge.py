"""A classifier as the judge of environments, wherever one is made."""

import numpy as np
import pytest
import ray
import torch

from e2hil_rllib.classifier.judge import Judge
from e2hil_rllib.classifier.network import ClassifierNetwork
from e2hil_rllib.classifier.success_classifier import VERSION, ClassifierError, SuccessClassifier
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.settings.environments import make_environment

TASK = "tests.helpers:E2HiLSeeingReach-v0"


@pytest.fixture
def folder(tmp_path):
    """A classifier that was never trained, looking through `front`."""
    torch.manual_seed(0)
    shapes = {"front": (32, 32, 3)}
    description = {
        "version": VERSION, "encoder": "cnn", "threshold": 0.5,
        "cameras": {name: list(shape) for name, shape in shapes.items()},
    }  # fmt: skip
    classifier = SuccessClassifier(
        ClassifierNetwork(shapes, frozen=False), shapes, 0.5, None, description
    )
    (tmp_path / "judge").mkdir()
    classifier.save(tmp_path / "judge")
    return tmp_path / "judge"


def test_an_environment_is_judged_where_a_judge_is_named(folder):
    judge = Judge(str(folder), agree=2, window=3, threshold=1e-9)
    env = make_environment(TASK, {"limit": 9}, judge)
    _, info = env.reset(seed=0)
    assert 0 < info["success_probability"] < 1
    # The frame of the reset is the first that agrees.
    _, reward, terminated, _, info = env.step(np.zeros(2, np.float32))
    assert (reward, terminated, info["succeed"]) == (1.0, True, True)
    plain = make_environment(TASK, {"limit": 9})
    assert "success_probability" not in plain.reset(seed=0)[1]


def test_training_and_evaluation_are_judged_alike(folder):
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    config = (
        E2HiLConfig()
        .environment(TASK)
        .success_classifier(folder, agree=1, window=1, threshold=1e-9)
        .training(hidden_sizes=(16,), encoder_size=8, steps_per_iteration=8, learning_starts=100)
        .debugging(seed=0)
    )
    algo = config.build_algo()
    algo.train()
    assert {outcome.num_steps for outcome in algo.state.collector.outcomes} == {1}
    assert all(outcome.success for outcome in algo.state.collector.outcomes)
    assert [e["steps"] for e in algo.evaluate_episodes(3, seed=0)] == [1, 1, 1]
    algo.stop()
    ray.shutdown()


def test_a_judge_that_is_not_there_or_sees_otherwise_is_refused(folder, tmp_path):
    with pytest.raises(ClassifierError, match="nowhere"):
        make_environment(TASK, {}, Judge(str(tmp_path / "nowhere")))
    with pytest.raises(ClassifierError, match="front"):
        make_environment("tests.helpers:E2HiLReach-v0", {}, Judge(str(folder)))
    with pytest.raises(ValueError, match="path is empty"):
        Judge("")


def test_a_judge_needs_environments_in_its_own_process(folder):
    config = E2HiLConfig().environment(TASK).success_classifier(folder)
    config.env_runners(gym_env_vectorize_mode="async")
    with pytest.raises(ValueError, match="needs 'sync'"):
        config.validate()
