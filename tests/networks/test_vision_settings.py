"""Vision settings: what they mean when left out, and what is refused."""

import pickle

import pytest

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.networks.trunk_stage import TrunkStage
from e2hil_rllib.networks.vision_settings import VisionSettings


def test_settings_from_before_there_was_a_choice_mean_what_they_did():
    frozen = VisionSettings(encoder="frozen", trunk_weights="seed:3")
    assert frozen.stage == TrunkStage("resnet10t", 32)
    assert (frozen.head, frozen.feature_shift) == ("spatial", 0)
    old = pickle.loads(pickle.dumps(frozen))
    for name in ("trunk", "stride", "head", "feature_shift"):  # a checkpoint's module lacks them
        del old.__dict__[name]
    assert old == frozen and old.stage == frozen.stage


def test_a_configuration_saved_before_there_was_a_choice_loads_with_the_old_meaning():
    state = E2HiLConfig().vision(encoder="frozen").get_state()
    for name in ("trunk", "trunk_stride", "vision_head", "feature_shift"):
        del state[name]
    assert E2HiLConfig.from_state(state).vision_settings == VisionSettings(encoder="frozen")


def test_every_setting_reaches_the_object():
    chosen = {
        "encoder": "frozen", "trunk": "efficientnet_lite0", "stride": 8, "trunk_weights": "package",
        "head": "keypoints", "random_shift": 2, "feature_shift": 1,
    }  # fmt: skip
    assert E2HiLConfig().vision(**chosen).vision_settings == VisionSettings(**chosen)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"encoder": "resnet"}, r"encoder='resnet': must be one of \('cnn', 'frozen'\)"),
        ({"head": "points"}, r"head='points': must be one of \('spatial', 'keypoints'\)"),
        ({"trunk": "resnet18"}, "trunk='resnet18': must be one of"),
        ({"stride": 64}, "stride=64: must be one of"),
        ({"trunk_weights": ""}, "trunk_weights='': must be 'seed:N', 'package'"),
        ({"random_shift": 17}, "random_shift=17: must be a whole number of pixels, 0 to 16"),
        ({"feature_shift": 5}, "feature_shift=5: must be a whole number of cells, 0 to 4"),
        ({"feature_shift": 1}, "feature_shift=1 with encoder='cnn'.*set feature_shift to 0"),
    ],
)
def test_a_value_out_of_its_range_is_named(chosen, message):
    with pytest.raises(ValueError, match=message):
        VisionSettings(**chosen)
