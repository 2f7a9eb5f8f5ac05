"""The paper's preset learns as it did before imitation, warm start and other targets existed."""

import json
from pathlib import Path

import numpy as np
import pytest

from e2hil_rllib.config import E2HiLConfig
from tests.helpers import policy_weights

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

FIGURES = Path(__file__).parents[1] / "fixtures" / "paper_learning.json"
"""What `short_run` gave at commit 330c842, the last one that had the paper's numbers alone."""

LOGGED = ("critic_loss", "actor_loss", "temperature_loss", "temperature", "policy_entropy")


def paper_config() -> E2HiLConfig:
    return E2HiLConfig().preset("e2hil_paper")


def short_run(selection: bool) -> dict[str, float]:
    """Figures of 200 steps with a human: the last losses, and the sum of each parameter."""
    config = (
        paper_config()
        .environment("tests.helpers:E2HiLReach-v0")
        .entropy_selection(enabled=selection)
        .training(
            hidden_sizes=(32, 32), encoder_size=16, train_batch_size_per_learner=64,
            steps_per_iteration=100,
        )
        .debugging(seed=3)
    )  # fmt: skip
    algo = config.build_algo()
    try:
        for _ in range(2):
            result = algo.train()
        learned = result["learners"]["default_policy"]
        figures = {name: float(learned[name]) for name in LOGGED}
        for name, value in policy_weights(algo).items():
            figures[name] = float(np.sum(value, dtype=np.float64))
        return figures
    finally:
        algo.stop()


@pytest.mark.parametrize("selection", [True, False])
def test_the_paper_preset_learns_what_it_learned_before(selection):
    stored = json.loads(FIGURES.read_text())[str(selection)]
    figures = short_run(selection)
    assert figures.keys() == stored.keys()
    for name, value in stored.items():
        # Other processors round otherwise; on the one that wrote the file they are equal.
        assert figures[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
