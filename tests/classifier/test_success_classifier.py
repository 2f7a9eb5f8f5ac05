"""The classifier in memory and on disk: its inputs and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from e2hil_rllib.classifier.network import ClassifierNetwork
from e2hil_rllib.classifier.success_classifier import (
    DESCRIPTION,
    WEIGHTS,
    ClassifierError,
    SuccessClassifier,
)
from e2hil_rllib.networks.frozen_trunk import shared_trunk
from e2hil_rllib.networks.trunk_stage import TrunkStage
from e2hil_rllib.networks.trunk_weights import TrunkWeightsError

SHAPES = {"front": (32, 48, 3), "wrist": (16, 16, 3)}


def make(frozen: bool = False) -> SuccessClassifier:
    torch.manual_seed(0)
    trunk = shared_trunk("seed:0", TrunkStage()) if frozen else None
    description = {
        "version": 1,
        "encoder": "frozen" if frozen else "cnn",
        "trunk_weights": "seed:0" if frozen else None,
        "trunk_fingerprint": trunk.fingerprint if trunk else None,
        "cameras": {camera: list(shape) for camera, shape in SHAPES.items()},
        "threshold": 0.75,
    }
    return SuccessClassifier(ClassifierNetwork(SHAPES, frozen), SHAPES, 0.75, trunk, description)


def frames(batch: int | None = None, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    leading = () if batch is None else (batch,)
    return {
        camera: rng.integers(0, 256, (*leading, *shape), dtype=np.uint8)
        for camera, shape in (SHAPES | shapes).items()
    }


@pytest.mark.parametrize("frozen", [False, True])
def test_a_loaded_classifier_gives_the_same_probabilities(tmp_path: Path, frozen: bool) -> None:
    classifier = make(frozen)
    classifier.save(tmp_path)
    loaded = SuccessClassifier.load(str(tmp_path))
    assert loaded.threshold == 0.75 and loaded.frame_shapes == SHAPES
    assert loaded.description == classifier.description
    batch = frames(5)
    probability = loaded.probability(batch)
    np.testing.assert_array_equal(probability, classifier.probability(batch))
    assert probability.shape == (5,) and ((probability > 0) & (probability < 1)).all()


def test_a_single_frame_is_judged_as_in_a_batch_and_other_entries_are_ignored() -> None:
    classifier, batch = make(), frames(3)
    single = {camera: array[1] for camera, array in batch.items()}
    judged = classifier.probability(single | {"state": np.zeros(21, np.float32)})
    assert isinstance(judged, float)
    assert judged == pytest.approx(classifier.probability(batch)[1], abs=1e-6)


def test_judging_uses_no_random_numbers() -> None:
    classifier, before = make(), torch.get_rng_state()
    single = frames()
    assert classifier.probability(single) == classifier.probability(single)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_frozen_trunk_computes_a_frame_once() -> None:
    classifier, single = make(frozen=True), frames()
    classifier.probability(single)
    computed = shared_trunk("seed:0", TrunkStage()).computed
    classifier.probability(single)
    assert shared_trunk("seed:0", TrunkStage()).computed == computed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"front": np.zeros((32, 48, 3), np.uint8)}, r"camera 'wrist', but there is only \['front"),
        (frames(wrist=(8, 8, 3)), r"'wrist' gives uint8 frames of shape \(8, 8, 3\).*\(16, 16, 3"),
        (frames() | {"front": np.zeros((32, 48, 3))}, "'front' gives float64"),
        (frames(2) | {"front": np.zeros((32, 48, 3), np.uint8)}, "different lengths"),
        (frames(2, wrist=(2, 16, 16, 3)), r"'wrist' gives uint8 frames of shape \(2, 2, 16"),
    ],
)
def test_other_frames_are_refused_by_camera(given: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ClassifierError, match=message):
        make().probability(given)


def test_an_environments_frames_are_checked_before_it_runs() -> None:
    def space(**shapes: tuple[int, ...]) -> gymnasium.spaces.Dict:
        return gymnasium.spaces.Dict(
            {name: gymnasium.spaces.Box(0, 255, shape, np.uint8) for name, shape in shapes.items()}
            | {"state": gymnasium.spaces.Box(-1, 1, (21,))}
        )

    make().check_space(space(**SHAPES))
    with pytest.raises(ClassifierError, match="looks through camera 'wrist'"):
        make().check_space(space(front=(32, 48, 3)))
    with pytest.raises(ClassifierError, match="'front' gives uint8 frames"):
        make().check_space(space(front=(64, 64, 3), wrist=(16, 16, 3)))
    with pytest.raises(ClassifierError, match="camera 'front'"):
        make().check_space(gymnasium.spaces.Box(-1, 1, (21,)))


def test_a_folder_without_a_classifier_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match=r"nowhere holds no success classifier"):
        SuccessClassifier.load(tmp_path / "nowhere")


def test_another_version_is_refused(tmp_path: Path) -> None:
    make().save(tmp_path)
    change(tmp_path, version=7)
    with pytest.raises(ClassifierError, match="has version 7, this program reads 1"):
        SuccessClassifier.load(tmp_path)


@pytest.mark.parametrize("damage", ["weights", "no weights", "json", "cameras", "other network"])
def test_a_damaged_classifier_is_named(tmp_path: Path, damage: str) -> None:
    make().save(tmp_path)
    if damage == "weights":
        (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-10])
    elif damage == "no weights":
        (tmp_path / WEIGHTS).unlink()
    elif damage == "json":
        (tmp_path / DESCRIPTION).write_text("{")
    elif damage == "cameras":
        change(tmp_path, cameras=None)
    else:
        change(tmp_path, cameras={"front": [32, 48, 3]})
    with pytest.raises(ClassifierError, match=r"is damaged \(.*Train one with e2hil classifier"):
        SuccessClassifier.load(tmp_path)


def test_another_trunk_than_that_of_the_training_is_refused(tmp_path: Path) -> None:
    make(frozen=True).save(tmp_path)
    change(tmp_path, trunk_weights="seed:1")
    with pytest.raises(ClassifierError, match="trained on trunk weights 'seed:1' with fingerprint"):
        SuccessClassifier.load(tmp_path)
    change(tmp_path, trunk_weights="gone.safetensors")
    with pytest.raises(TrunkWeightsError, match=r"gone\.safetensors"):
        SuccessClassifier.load(tmp_path)


def change(folder: Path, **entries: object) -> None:
    description = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(description | entries))
