"""A checkpoint of the code before presets: it loads, and learns as it did."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from e2hil_rllib.algorithm import E2HiL
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.presets import PAPER, PRESETS
from tests.helpers import policy_weights

pytestmark = pytest.mark.usefixtures("ray_session")

FIXTURE = Path(__file__).parent / "fixtures" / "checkpoint_330c842"
"""Saved by commit 330c842 after 80 steps; the sums of its parameters after 40 more."""


def test_it_goes_on_as_the_code_that_wrote_it(tmp_path):
    with tarfile.open(FIXTURE / "checkpoint.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    algo = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    assert {name: getattr(algo.config, name) for name in PRESETS[PAPER]} == PRESETS[PAPER]
    assert algo.warm_start() == 0
    algo.train()
    expected = json.loads((FIXTURE / "trained_on.json").read_text())
    found = {name: float(np.sum(x, dtype=np.float64)) for name, x in policy_weights(algo).items()}
    algo.stop()
    # Other processors round otherwise; on the one that wrote the file they are equal.
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_run_of_then_is_resumed_with_the_papers_preset(tmp_path):
    (tmp_path / "config.yaml").write_text("task: envs:SO101TouchCube-v0\nstop: {steps: 9}\n")
    assert RunFolder(tmp_path).settings().preset == PAPER
