"""Training on synthetic scenes: inputs, augmentation, the best weights, and the written files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from e2hil_rllib.classifier import fitting
from e2hil_rllib.classifier import train as train_module
from e2hil_rllib.classifier.dataset import label_episode
from e2hil_rllib.classifier.fitting import balanced, best_evaluation, fit, probabilities
from e2hil_rllib.classifier.inputs import FeatureInputs, FrameInputs, augmented, frames_at
from e2hil_rllib.classifier.metrics import average_precision
from e2hil_rllib.classifier.network import ClassifierNetwork
from e2hil_rllib.classifier.success_classifier import ClassifierError, SuccessClassifier
from e2hil_rllib.classifier.train import TrainingOptions, train_classifier
from e2hil_rllib.networks.frozen_trunk import shared_trunk
from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.trunk_stage import TrunkStage
from tests.classifier.scenes import episode, labelled

SHAPES = {"front": (32, 32, 3)}


def scenes(number: int, first: int = 0) -> list:
    return [
        label_episode(episode(first + i, solved=i % 3 > 0), f"episode_{first + i:06d}.parquet")
        for i in range(number)
    ]


def make_network(frozen: bool = False) -> ClassifierNetwork:
    torch.manual_seed(0)
    return ClassifierNetwork(SHAPES, frozen)


def test_augmentation_keeps_the_scene_and_changes_its_look() -> None:
    frames = torch.from_numpy(np.stack([scenes(1)[0].frames["front"][0]] * 40))
    before = frames.clone()
    changed = augmented(frames, NoiseStream(0))
    assert torch.equal(frames, before) and changed.dtype == torch.uint8
    assert changed.shape == frames.shape
    assert len({x.numpy().tobytes() for x in changed}) == 40
    light = changed.float().mean(dim=(1, 2, 3)) - before.float().mean(dim=(1, 2, 3))
    assert 5 < light.std() < 40 and light.abs().max() < 60
    again = augmented(frames, NoiseStream(0))
    assert torch.equal(again, changed)


def test_a_frozen_trunk_sees_each_copy_once_and_plain_frames_unchanged() -> None:
    trunk = shared_trunk("seed:0", TrunkStage())
    frames = FrameInputs(scenes(2))
    before, seen = trunk.computed, []
    inputs = FeatureInputs(
        frames, trunk, 2, NoiseStream(0), lambda *progress: seen.append(progress)
    )
    number = len(frames.success)
    assert trunk.computed - before == 2 * number
    assert seen[-1] == (2 * number, 2 * number)
    batch = inputs.varied(np.arange(8), NoiseStream(1))["front"]
    assert batch.shape == (8, 512, 1, 1) and batch.dtype == torch.float16
    plain = FeatureInputs(frames, trunk, 0, NoiseStream(0)).plain(np.array([3]))["front"]
    picture = frames.plain(np.array([3]))["front"].numpy()
    np.testing.assert_array_equal(plain.numpy(), trunk.features(picture))


def test_frames_are_found_across_episodes() -> None:
    episodes = scenes(3)
    inputs = FrameInputs(episodes)
    joined = np.concatenate([e.frames["front"] for e in episodes])
    indices = np.array([0, 40, 10, 11, 25, 26, 3])
    np.testing.assert_array_equal(inputs.plain(indices)["front"].numpy(), joined[indices])
    assert len(inputs.success) == len(joined) == 41


def test_a_choice_of_frames_is_balanced_as_far_as_it_can_be() -> None:
    noise = NoiseStream(0)
    few = np.array([0] * 90 + [1] * 10 + [0] * 50, bool)
    chosen = balanced(few, 40, noise)
    assert len(set(chosen)) == 40 and few[chosen].sum() == 10 and (np.diff(chosen) > 0).all()
    rich = np.array([1] * 90 + [0] * 10, bool)
    assert rich[balanced(rich, 40, noise)].sum() == 30
    assert balanced(np.array([True, False]), 40, noise).tolist() == [0, 1]


def test_chosen_frames_keep_their_labels_and_their_places() -> None:
    episodes = [labelled("a", [0, 0, 1]), labelled("b", [0, 0]), labelled("c", [0, 1])]
    for number, e in enumerate(episodes):
        e.frames["front"][:, 0, 0, 0] = 10 * number + e.steps
    kept = frames_at(episodes, np.array([1, 2, 6]))
    assert [e.name for e in kept] == ["a", "c"]
    assert [e.steps.tolist() for e in kept] == [[1, 2], [1]]
    assert [e.success.tolist() for e in kept] == [[False, True], [True]]
    assert [e.frames["front"][:, 0, 0, 0].tolist() for e in kept] == [[1, 2], [21]]


def test_batches_are_half_success_and_half_of_each_comes_from_near_the_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, batches = FrameInputs(scenes(6)), []
    varied = data.varied
    monkeypatch.setattr(
        data, "varied", lambda indices, noise: batches.append(indices) or varied(indices, noise)
    )
    fit(make_network(), data, data, steps=10, batch_size=16, noise=NoiseStream(0))
    drawn = np.stack(batches)
    assert drawn.shape[1] == 16
    assert data.success[drawn[:, :8]].all() and not data.success[drawn[:, 8:]].any()
    assert data.near_change[drawn[:, 4:8]].all() and data.near_change[drawn[:, 12:]].all()
    assert not data.near_change[drawn[:, 8:12]].all()


def test_the_network_learns_and_keeps_the_weights_of_its_best_evaluation() -> None:
    train, choose = FrameInputs(scenes(12)), FrameInputs(scenes(6, first=100))
    network, steps = make_network(), []
    untrained = average_precision(probabilities(network, choose), choose.success)
    history = fit(
        network, train, choose, steps=60, batch_size=16, noise=NoiseStream(0),
        on_step=lambda *step: steps.append(step),
    )  # fmt: skip
    trained = average_precision(probabilities(network, choose), choose.success)
    best = best_evaluation(history)
    assert trained == best.average_precision > max(0.95, untrained)
    assert history[0].step == 6 and history[-1].loss < history[0].loss
    assert steps[-1] == (history[-1].step, 60)


def test_fitting_keeps_the_best_weights_and_stops_without_improvement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, seen = iter([0.5, 0.8, 0.9, 0.7, 0.9, 0.6, 0.2, 0.99]), []
    network = make_network()

    def score(*_: np.ndarray) -> float:
        seen.append({name: x.clone() for name, x in network.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(fitting, "average_precision", score)
    data = FrameInputs(scenes(3))
    history = fit(network, data, data, steps=20, batch_size=4, noise=NoiseStream(0))
    assert [e.step for e in history] == [2, 4, 6, 8, 10, 12, 14]
    assert best_evaluation(history) == history[2]
    kept = network.state_dict()
    assert all(torch.equal(kept[name], seen[2][name]) for name in kept)
    assert not all(torch.equal(kept[name], seen[4][name]) for name in kept)


@pytest.mark.parametrize("encoder", ["cnn", "frozen"])
def test_a_trained_classifier_is_written_whole_and_loads_to_the_same(
    tmp_path: Path, encoder: str
) -> None:
    out = tmp_path / "new" / "classifier"
    before = torch.get_rng_state()
    options = TrainingOptions(encoder=encoder, steps=40)
    episodes, stages = scenes(20), []
    description = train_classifier(episodes, options, out, lambda stage, *_: stages.append(stage))
    assert torch.equal(torch.get_rng_state(), before)
    assert sorted(p.name for p in out.iterdir()) == [
        "classifier.json", "mistakes.png", "scores.png", "weights.safetensors",
    ]  # fmt: skip
    assert [p.name for p in out.parent.iterdir()] == ["classifier"]
    assert json.loads((out / "classifier.json").read_text()) == description
    loaded = SuccessClassifier.load(out)
    assert loaded.threshold == description["threshold"] and loaded.cameras == ("front",)
    assert Image.open(out / "mistakes.png").size[0] > 500
    test = description["test"]
    assert test["frames"]["recall"]["total"] == description["split"]["test"]["success_frames"]
    expected = {"Training"} if encoder == "cnn" else {"Training", "Computing features (test)"}
    assert expected <= set(stages)
    if encoder == "cnn":  # random filters on 32 pixels see too little
        assert test["average_precision"] > 0.9
    solved, open_ = (episode(50, solved=True).observations["front"][i] for i in (-1, 0))
    probability = loaded.probability({"front": np.stack([solved, open_])})
    assert probability[0] > probability[1]
    assert description["trunk_fingerprint"] == (
        None if encoder == "cnn" else shared_trunk("seed:0", TrunkStage()).fingerprint
    )


def test_the_figures_come_from_episodes_that_nothing_was_learned_or_chosen_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the labels of the test episodes inverted, only the figures of the test change."""
    split = train_module.split_episodes

    def turned(episodes: list, seed: int) -> train_module.Split:
        parts = split(episodes, seed)
        for e in parts.test:
            e.success[:] = ~e.success
        return parts

    options = TrainingOptions(steps=10)
    honest = train_classifier(scenes(12), options, tmp_path / "a")
    monkeypatch.setattr(train_module, "split_episodes", turned)
    fooled = train_classifier(scenes(12), options, tmp_path / "b")
    assert fooled["threshold"] == honest["threshold"]
    assert fooled["chosen_on"] == honest["chosen_on"]
    assert fooled["test"] != honest["test"]
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_an_existing_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match=r"is there already\. Name another folder with --out"):
        train_classifier(scenes(12), TrainingOptions(steps=1), tmp_path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"encoder": "resnet"}, "encoder is 'resnet', expected 'cnn' or 'frozen'"),
        ({"steps": 0}, "steps is 0"),
        ({"false_positive_rate": 1.0}, "false_positive_rate is 1.0, expected 0 to below 1"),
    ],
)
def test_options_out_of_range_are_named(option: dict, message: str) -> None:
    with pytest.raises(ClassifierError, match=message):
        TrainingOptions(**option)
