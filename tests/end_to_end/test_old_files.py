"""Files of earlier versions load with their old meaning, and a checkpoint learns as it did."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from e2hil_rllib.algorithm import E2HiL
from e2hil_rllib.commands.train import train
from e2hil_rllib.data.episodes import read_episodes
from e2hil_rllib.external.protocol.chunk import Chunk
from e2hil_rllib.external.robot.spool import Spool
from e2hil_rllib.run.progress import STEP, read_rows
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.presets import EARLIER_DEFAULT, PAPER, PRESETS
from e2hil_rllib.settings.run_settings import changed_keys, load_settings
from tests.helpers import policy_weights

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

FIXTURE = Path(__file__).parents[1] / "fixtures" / "checkpoint_330c842"
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


OLD_RUN = Path(__file__).parents[1] / "fixtures" / "run_18be0cd" / "files.tar.gz"
"""Written by commit 18be0cd: a run of 60 steps, its settings file, and a robot's spool."""


@pytest.fixture
def old(tmp_path):
    with tarfile.open(OLD_RUN) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_an_old_settings_file_means_what_it_did(old):
    settings, recorded = load_settings(old / "settings.yaml"), RunFolder(old / "run").settings()
    assert changed_keys(settings.spelled_out(EARLIER_DEFAULT), recorded) == []
    assert (recorded.imitation.weight, recorded.training.fine_scales) == (1.0, ())
    assert settings.training.hidden_sizes == (8,)
    assert settings.arguments("entropy_selection") == {}


def test_an_old_run_is_resumed_and_reported(old):
    run = RunFolder(old / "run")
    demonstrations = read_episodes(run.demonstrations)
    assert len(demonstrations) == 1 and demonstrations[0].succeed
    logged = len(read_episodes(run.episodes))
    settings = load_settings(old / "settings.yaml", ["stop.steps=80", "evaluation.episodes=1"])
    assert train(settings, run, resume=True, console=Console(quiet=True))
    rows = read_rows(run.progress)
    assert [row[STEP] for row in rows] == [20, 40, 60, 80]
    assert len(read_episodes(run.episodes)) >= logged
    assert (run.report / "index.html").exists()
    assert run.settings().training.exploration_noise == 0.3, "that of the preset of then"


def test_an_old_spool_is_delivered(old):
    with Spool(old / "spool", 10**8) as spool:
        chunks = [Chunk.from_bytes(spool.read(sequence)) for sequence, _ in spool.waiting()]
    assert [chunk.num_steps for chunk in chunks] == [4, 2]
    assert [chunk.first_step for chunk in chunks] == [0, 4]
    assert chunks[1].terminated and chunks[1].succeed
    assert np.concatenate([c.is_intervention for c in chunks]).nonzero()[0].tolist() == [2, 3]
    assert chunks[1].observations["state"][:, 0].tolist() == [4, 5, 6]
