"""The frozen trunk: once in a frame's life per process, the same for everybody."""

import numpy as np
import pytest
import torch

from e2hil_rllib.networks import frozen_trunk as trunk_module
from e2hil_rllib.networks.frozen_trunk import (
    FrozenTrunk,
    TrunkFeatures,
    save_trunk,
    saved_fingerprint,
    saved_trunk,
    shared_trunk,
)
from e2hil_rllib.networks.resnet import ResNet10T
from e2hil_rllib.networks.trunk_stage import TrunkStage
from e2hil_rllib.networks.trunk_weights import MEAN, STD, load_trunk_weights


@pytest.fixture(scope="module")
def weights():
    return load_trunk_weights("seed:0", TrunkStage())


def frames(number: int, seed: int = 0, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (number, side, side, 3), np.uint8)


def test_features_are_those_of_the_normalised_frames(weights):
    network = ResNet10T()
    network.load_state_dict(weights)
    images = torch.from_numpy(frames(3, side=64)).permute(0, 3, 1, 2).float() / 255
    images = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        expected = network.eval()(images)
    features = FrozenTrunk(weights, TrunkStage()).features(frames(3, side=64))
    assert features.dtype == np.float16
    assert features.shape == (3, *TrunkStage().feature_shape((64, 64, 3)))
    np.testing.assert_allclose(features, expected.numpy(), atol=2e-3 * float(expected.max()))


def test_a_cut_trunk_gives_the_features_of_its_stage(weights):
    stage = TrunkStage("resnet10t", 8)
    cut = FrozenTrunk(load_trunk_weights("seed:0", stage), stage)
    seen = frames(2, side=64)
    assert cut.features(seen).shape == (2, 128, 8, 8)
    assert cut.features(seen[:0]).shape == (0, 128, 8, 8)
    network = ResNet10T()
    network.load_state_dict(weights)
    images = torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 255
    images = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    found = []
    network.eval().layer2.register_forward_hook(lambda *call: found.append(call[-1]))
    with torch.no_grad():
        network(images)
    np.testing.assert_allclose(cut.features(seen), found[0].numpy(), atol=1e-2)


def test_fingerprints_tell_trunks_and_stages_apart(weights, tmp_path):
    """A checkpoint's file bears it; that of the whole ResNet-10-T is as it always was."""
    stages = [TrunkStage(t, s) for t in ("resnet10t", "efficientnet_lite0") for s in (8, 16, 32)]
    trunks = [FrozenTrunk(load_trunk_weights("seed:0", stage), stage) for stage in stages]
    assert len({trunk.fingerprint for trunk in trunks}) == 6
    assert FrozenTrunk(weights, TrunkStage()).fingerprint == "ebca4359e50690a1"
    for number, trunk in enumerate(trunks):
        folder = tmp_path / str(number)
        folder.mkdir()
        save_trunk(trunk, folder)
        assert saved_fingerprint(folder) == trunk.fingerprint
        again = load_trunk_weights(str(saved_trunk(folder)), trunk.stage)
        assert FrozenTrunk(again, trunk.stage).fingerprint == trunk.fingerprint
    assert saved_fingerprint(tmp_path) is None


def test_a_frame_is_computed_once_in_whatever_batch_it_comes(weights):
    trunk = FrozenTrunk(weights, TrunkStage())
    seen = frames(5)
    first = trunk.features(seen)
    assert trunk.computed == 5
    again = trunk.features(np.concatenate([seen[::-1], frames(2, seed=1)]))
    assert trunk.computed == 7
    np.testing.assert_array_equal(again[:5], first[::-1])
    trunk.features(np.repeat(frames(1, seed=2), 4, axis=0))
    assert trunk.computed == 8


def test_only_so_many_frames_are_remembered_the_least_recent_goes(weights):
    trunk = FrozenTrunk(weights, TrunkStage(), remembered=2)
    a, b, c = frames(3)[:, None]
    for frame in (a, b, a, c):
        trunk.features(frame)
    assert trunk.computed == 3
    trunk.features(a)
    assert trunk.computed == 3
    trunk.features(b)
    assert trunk.computed == 4


def test_a_process_has_one_trunk_for_a_source():
    assert shared_trunk("seed:0", TrunkStage()) is shared_trunk("seed:0", TrunkStage())
    assert (
        shared_trunk("seed:0", TrunkStage()).fingerprint
        != shared_trunk("seed:1", TrunkStage()).fingerprint
    )


def test_only_cameras_are_replaced(weights):
    features = TrunkFeatures(FrozenTrunk(weights, TrunkStage()), ["front"])
    observations = {"front": frames(2), "state": np.ones((2, 3), np.float32)}
    stored = features.of_arrays(observations)
    assert stored["state"] is observations["state"]
    assert stored["front"].shape == (2, 512, 1, 1)
    tensors = features.of_tensors({k: torch.from_numpy(x) for k, x in observations.items()})
    np.testing.assert_array_equal(tensors["front"], stored["front"])
    assert features.trunk.computed == 2


def test_large_features_stay_finite(weights):
    huge = {k: v * 1e4 if k.endswith("bn2.weight") else v for k, v in weights.items()}
    assert np.isfinite(FrozenTrunk(huge, TrunkStage()).features(frames(2))).all()


def test_checkpoints_share_one_file_of_weights(weights, tmp_path):
    trunk = FrozenTrunk(weights, TrunkStage())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    save_trunk(trunk, tmp_path / "a")
    save_trunk(trunk, tmp_path / "b", [tmp_path / "empty", tmp_path / "a"])
    first, second = saved_trunk(tmp_path / "a"), saved_trunk(tmp_path / "b")
    assert first.stat().st_ino == second.stat().st_ino
    assert (
        FrozenTrunk(load_trunk_weights(str(second), TrunkStage()), TrunkStage()).fingerprint
        == trunk.fingerprint
    )
    assert saved_trunk(tmp_path) is None


def test_long_batches_pass_in_chunks(weights, monkeypatch):
    whole = FrozenTrunk(weights, TrunkStage()).features(frames(7))
    monkeypatch.setattr(trunk_module, "_CHUNK", 3)
    np.testing.assert_allclose(
        FrozenTrunk(weights, TrunkStage()).features(frames(7)), whole, rtol=2e-3, atol=1e-3
    )
