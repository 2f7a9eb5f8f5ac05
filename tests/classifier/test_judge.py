"""Classifier as the judge of environments: debouncing, rewards, and refusals."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import ray
import torch
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.classifier.judge import (
    ClassifierReward,
    Debounce,
    Judge,
)
from e2hil_rllib.classifier.network import ClassifierNetwork
from e2hil_rllib.classifier.success_classifier import VERSION, ClassifierError, SuccessClassifier
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.settings.environments import make_environment

TASK = "tests.helpers:E2HiLSeeingReach-v0"


@pytest.fixture
def folder(tmp_path):
    """An untrained classifier of the camera ``front``."""
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


@pytest.mark.slow
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


def test_a_missing_judge_or_one_of_other_cameras_is_refused(folder, tmp_path):
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


@given(frames=st.lists(st.booleans(), max_size=40), agree=st.integers(1, 5), more=st.integers(0, 4))
def test_debounce_agrees_with_counting_the_last_frames(
    frames: list[bool], agree: int, more: int
) -> None:
    window = agree + more
    debounce = Debounce(agree, window)
    for index, says in enumerate(frames):
        last = frames[max(0, index + 1 - window) : index + 1]
        assert debounce.add(says) == (last.count(True) >= agree)


@given(before=st.lists(st.booleans()), after=st.lists(st.booleans()))
def test_clear_forgets_all_frames(before: list[bool], after: list[bool]) -> None:
    used, new = Debounce(2, 3), Debounce(2, 3)
    for says in before:
        used.add(says)
    used.clear()
    assert [used.add(says) for says in after] == [new.add(says) for says in after]


@pytest.mark.parametrize(
    ("agree", "window", "message"),
    [
        (3, 2, "agree is 3 and window 2"),
        (0, 2, "agree is 0"),
        (1, 0, "window is 0"),
        (1.5, 2, "agree is 1.5"),
        (True, 1, "agree is True"),
    ],
)
def test_invalid_debouncing_is_refused(agree: int, window: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Debounce(agree, window)


SHAPE = (8, 8, 3)


class Brightness(SuccessClassifier):
    """Classifier whose probability of success is the frame's brightness."""

    def __init__(self, threshold: float = 0.5) -> None:
        shapes = {"front": SHAPE}
        super().__init__(ClassifierNetwork(shapes, frozen=False), shapes, threshold)

    def probability(self, frames: Any) -> float:
        return float(frames["front"].mean() / 255)


class Slides(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Environment with frames of given brightness, and a given end at the last step."""

    observation_space = gymnasium.spaces.Dict(
        {"front": gymnasium.spaces.Box(0, 255, SHAPE, np.uint8)}
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, shown: list[float], end: tuple[float, bool, bool] = (0.0, False, False)):
        self._shown = shown
        self._end = end

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._step = 0
        return self._observe(), {"succeed": False}

    def step(self, action: np.ndarray) -> Any:
        self._step += 1
        last = self._step == len(self._shown) - 1
        reward, terminated, truncated = self._end if last else (0.0, False, False)
        return self._observe(), reward, terminated, truncated, {"succeed": reward > 0}

    def _observe(self) -> dict[str, np.ndarray]:
        return {"front": np.full(SHAPE, round(255 * self._shown[self._step]), np.uint8)}


def played(env: gymnasium.Env) -> list[tuple]:
    """Return reward, terminated, truncated and succeed of each step."""
    env.reset()
    steps = []
    for _ in range(len(env.unwrapped._shown) - 1):
        _, reward, terminated, truncated, info = env.step(np.zeros(2))
        steps.append((reward, terminated, truncated, info["succeed"]))
        if terminated or truncated:
            break
    return steps


NOTHING, SUCCESS = (0.0, False, False, False), (1.0, True, False, True)


def test_success_when_enough_of_the_last_frames_agree() -> None:
    env = ClassifierReward(Slides([0, 1, 0, 0, 1, 0, 1, 1]), Brightness(), agree=2, window=3)
    assert played(env) == [NOTHING] * 5 + [SUCCESS]


def test_no_success_at_the_reset_whose_frame_counts_all_the_same() -> None:
    env = ClassifierReward(Slides([1, 0, 0]), Brightness(), agree=1, window=1)
    _, info = env.reset()
    assert info == {"succeed": False, "success_probability": 1.0}
    assert played(env) == [NOTHING] * 2
    both = ClassifierReward(Slides([1, 1, 0]), Brightness(), agree=2, window=2)
    assert played(both) == [SUCCESS]


def test_a_reset_forgets_the_frames_before_it() -> None:
    env = ClassifierReward(Slides([0, 1, 0, 0]), Brightness(), agree=2, window=4)
    env.reset()
    env.step(np.zeros(2))
    assert played(env) == [NOTHING] * 3


def test_every_step_reports_the_probability() -> None:
    env = ClassifierReward(Slides([0, 0.2, 0.4]), Brightness())
    env.reset()
    seen = [env.step(np.zeros(2))[4]["success_probability"] for _ in range(2)]
    assert seen == pytest.approx([0.2, 0.4], abs=0.01)


def test_the_threshold_is_the_classifiers_unless_one_is_given() -> None:
    shown = [0.0, 0.7, 0.7]
    strict = Brightness(threshold=0.9)
    assert played(ClassifierReward(Slides(shown), strict, 1, 1)) == [NOTHING] * 2
    assert played(ClassifierReward(Slides(shown), strict, 1, 1, threshold=0.6)) == [SUCCESS]


@pytest.mark.parametrize("shown", [[0, 0, 0], [0, 0, 1]])
@pytest.mark.parametrize("end", [(0.0, True, False), (1.0, True, False)])
def test_an_operators_key_stands_whatever_the_classifier_says(
    shown: list[float], end: tuple[float, bool, bool]
) -> None:
    env = ClassifierReward(Slides(shown, end), Brightness(), 1, 1)
    assert played(env)[-1] == (*end, end[0] > 0)


def test_success_at_the_time_limit_is_a_success_and_no_truncation() -> None:
    end = (0.0, False, True)
    assert played(ClassifierReward(Slides([0, 0, 1], end), Brightness(), 1, 1))[-1] == SUCCESS
    assert played(ClassifierReward(Slides([0, 0, 0], end), Brightness(), 1, 1))[-1] == (*end, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"agree": 4, "window": 3}, "agree is 4 and window 3"),
        ({"agree": 0}, "agree is 0"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"threshold": 0}, "threshold is 0"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ClassifierError, match=message):
        ClassifierReward(Slides([0]), Brightness(), **options)


def test_an_environment_without_the_camera_is_refused() -> None:
    env = gymnasium.make("Pendulum-v1")
    with pytest.raises(ClassifierError, match="looks through camera 'front'"):
        ClassifierReward(env, Brightness())
