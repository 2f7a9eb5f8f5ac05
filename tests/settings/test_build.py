"""From settings to an algorithm: what does not fit is found before anything is started."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from e2hil_rllib.algorithm import E2HiL
from e2hil_rllib.run.checkpoints import CheckpointError
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings import build as module
from e2hil_rllib.settings.build import algorithm_config, check_settings, restore, resume_from
from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.yaml_file import SettingsError

TOUCH = "envs:SO101TouchCube-v0"


def settings_with(**values: Any) -> Settings:
    return Settings.model_validate({"task": TOUCH, "stop": {"steps": 1}} | values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "envs:SO101TuchCube-v0"}, "in 'env': .*Did you mean: `SO101TouchCube`"),
        ({"task": "enws:SO101TouchCube-v0"}, "in 'env': .*enws"),
        ({"env": {"operator": {"skil": 1}}}, "in 'env': .*did you mean 'skill'"),
        ({"evaluation_env": {"cubes": "left"}}, "in 'evaluation_env': .*did you mean 'cube_pos"),
        ({"resources": {"num_gpus_per_learner": 99.0}}, "need 99 GPUs, PyTorch finds"),
        ({"imitation": {"rows": "selected"}}, "needs entropy_selection"),
        (
            {
                "task": "envs:SO101Robot-v0",
                "env": {"follower": {}},
                "demonstrations": {"record": 1},
            },
            "the robot is in a process of its own. Record with 'e2hil record",
        ),
    ],
)
def test_what_cannot_be_made_is_told_with_its_section(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        check_settings(settings_with(**values), RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_evaluation_must_look_like_training_to_the_policy(tmp_path: Path) -> None:
    narrower = {"workspace": {"x": [0.2, 0.3]}}
    with pytest.raises(SettingsError, match="evaluation_env: the observations"):
        check_settings(settings_with(evaluation_env=narrower), RunFolder(tmp_path))
    check_settings(settings_with(evaluation_env={"reward": "dense"}), RunFolder(tmp_path))


def test_a_run_logs_into_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = algorithm_config(settings_with(), RunFolder("run"))
    assert config.episode_log == str(tmp_path / "run" / "episodes")
    assert config.selection_log == str(tmp_path / "run" / "selection")


@pytest.mark.parametrize("error", [zipfile.BadZipFile, pickle.UnpicklingError, EOFError])
def test_a_damaged_checkpoint_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    class Damaged:
        stopped = False

        def restore_from_path(self, path: Path) -> None:
            raise error

        def stop(self) -> None:
            self.stopped = True

    def refuse(path: str) -> None:
        raise error

    algorithm = Damaged()
    monkeypatch.setattr(module, "build", lambda settings, run, checkpoint: algorithm)
    monkeypatch.setattr(E2HiL, "from_checkpoint", refuse)
    checkpoint = tmp_path / "step_000000100"
    message = f"step_000000100 cannot be loaded: {error.__name__}.*move it away"
    with pytest.raises(CheckpointError, match=message):
        resume_from(checkpoint, settings_with(), RunFolder(tmp_path))
    assert algorithm.stopped
    with pytest.raises(CheckpointError, match=message):
        restore(checkpoint)
