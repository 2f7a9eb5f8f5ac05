"""`e2hil classifier`: from folders of episodes to a classifier, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from e2hil_rllib.classifier.success_classifier import SuccessClassifier
from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.data.episodes import episode_files
from tests.classifier import test_record  # noqa: F401 (registers TestSlide-v0)
from tests.classifier.scenes import episode, write_episodes


def e2hil(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["classifier", *(str(argument) for argument in arguments)])


def refused(*arguments: object) -> str:
    result = e2hil(*arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output
    return " ".join(result.output.split())


def test_recorded_episodes_become_a_classifier_with_its_figures(tmp_path: Path) -> None:
    write_episodes(tmp_path / "a", 9, 3)
    write_episodes(tmp_path / "b", 6, 3)
    out = tmp_path / "classifier"
    result = e2hil(
        "train", "--episodes", tmp_path / "a", "--episodes", tmp_path / "b", "--out", out,
        "--steps", 40, "--seed", 1, "--false-positive-rate", 0.05,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "For the test: 4 episodes" in text and "chosen for at most 5 % of failures" in text
    assert "failure frames taken for success" in text and "mistakes.png" in text
    description = json.loads((out / "classifier.json").read_text())
    assert description["seed"] == 1 and description["steps"]["most"] == 40
    classifier = SuccessClassifier.load(out)
    frames = episode(99, solved=True).observations["front"]
    assert classifier.probability({"front": frames[-1]}) > classifier.probability(
        {"front": frames[0]}
    )
    assert "is there already" in refused("train", "--episodes", tmp_path / "a", "--out", out)


def test_sorted_folders_become_a_classifier_of_the_chosen_camera(tmp_path: Path) -> None:
    success = write_episodes(tmp_path / "s", 4, 0, cameras=("front", "wrist"))
    failure = write_episodes(tmp_path / "f", 0, 4, cameras=("front", "wrist"))
    result = e2hil(
        "train", "--success", success, "--failure", failure, "--out", tmp_path / "c",
        "--steps", 1, "--cameras", "wrist",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert SuccessClassifier.load(tmp_path / "c").cameras == ("wrist",)


def test_unsure_frames_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, seen = write_episodes(tmp_path / "a", 3, 1), []
    monkeypatch.setattr(
        "e2hil_rllib.commands.classifier.train_with_progress",
        lambda labelled, *_: seen.append(sum(len(e.success) for e in labelled)),
    )
    for unsure in (0, 3):
        arguments = ("train", "--episodes", folder, "--out", tmp_path / "c")
        assert e2hil(*arguments, "--unsure-steps", unsure).exit_code == 0
    assert seen[0] - seen[1] == 3 * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either recorded episodes"),
        (["--success", "{a}"], "Give either recorded episodes"),
        (["--episodes", "{a}", "--success", "{a}", "--failure", "{a}"], "Give either recorded"),
        (["--success", "{a}", "--failure", "{a}", "--unsure-steps", "2"], "--unsure-steps leaves"),
        (["--episodes", "{a}/none"], "none is no folder"),
        (["--episodes", "{a}", "--cameras", "wrist"], "has no camera 'wrist'"),
        (["--episodes", "{a}"], "1 episodes that show success and 1 that do not are too few"),
        (["--episodes", "{a}", "--encoder", "vit"], "encoder is 'vit', expected 'cnn' or 'frozen'"),
        (["--episodes", "{a}", "--false-positive-rate", "1"], "false_positive_rate is 1.0"),
        (["--episodes", "{b}", "--encoder", "frozen", "--trunk-weights", "x"], "weights 'x' are"),
    ],
)
def test_what_the_user_can_mend_is_one_message(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    folders = {
        "a": write_episodes(tmp_path / "a", 1, 1),
        "b": write_episodes(tmp_path / "b", 3, 3),
    }
    filled = [argument.format(**folders) for argument in arguments]
    assert message in refused("train", *filled, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_recording_needs_cameras_and_says_what_it_recorded(tmp_path: Path) -> None:
    config = tmp_path / "slide.yaml"
    config.write_text("task: TestSlide-v0\nstop: {steps: 1}\n")
    out = tmp_path / "labelled"
    result = e2hil("record", config, "--episodes", 2, "--out", out)
    assert result.exit_code == 0, result.output
    assert "Recorded 2 episodes" in result.output and "show success" in result.output
    assert len(episode_files(out)) == 2
    without = refused("record", config, "--out", tmp_path / "b", "--set", "env.cameras=[]")
    assert "has no cameras" in without
