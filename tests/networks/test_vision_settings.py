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
    assert pickle.loads(pickle.dumps(frozen)) == frozen
    old = VisionSettings.__new__(VisionSettings)  # as a checkpoint's module has it: a plain object
    old.__setstate__({"encoder": "frozen", "trunk_weights": "seed:3", "random_shift": 4})
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
        ({"encoder": "resnet"}, r"vision\(encoder='resnet'\): must be 'cnn' or 'frozen'"),
        ({"head": "points"}, r"head='points'\): must be 'spatial' or 'keypoints'"),
        ({"trunk": "resnet18"}, r"trunk='resnet18'\): must be 'resnet10t' or"),
        ({"stride": 64}, r"stride=64\): must be 8, 16 or 32"),
        ({"trunk_weights": ""}, r"trunk_weights=''\): must be a text that is not empty"),
        ({"random_shift": 17}, r"random_shift=17\): must be at most 16"),
        ({"feature_shift": 5}, r"feature_shift=5\): must be at most 4"),
        ({"feature_shift": 1}, "feature_shift=1 with encoder='cnn'.*set feature_shift to 0"),
    ],
)
def test_a_value_out_of_its_range_is_named(chosen, message):
    with pytest.raises(ValueError, match=message):
        VisionSettings.checked("vision", chosen)
