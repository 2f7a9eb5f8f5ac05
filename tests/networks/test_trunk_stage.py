"""Stages of the trunks: shapes, names, and what is refused."""

import pytest
import torch

from e2hil_rllib.networks.trunk_stage import TrunkStage


@pytest.mark.parametrize(
    ("trunk", "stride", "shape"),
    [
        ("resnet10t", 8, (128, 16, 16)),
        ("resnet10t", 16, (256, 8, 8)),
        ("resnet10t", 32, (512, 4, 4)),
        ("efficientnet_lite0", 8, (40, 16, 16)),
        ("efficientnet_lite0", 16, (112, 8, 8)),
        ("efficientnet_lite0", 32, (320, 4, 4)),
    ],
)
def test_the_announced_feature_shape_is_that_of_the_network(trunk, stride, shape):
    stage = TrunkStage(trunk, stride)
    assert stage.feature_shape((128, 128, 3)) == shape
    with torch.no_grad():
        network = stage.inference_network(stage.network().eval())
        assert network(torch.zeros(1, 3, 128, 128)).shape == (1, *shape)
        frame = torch.zeros(1, 3, 90, 70)
        assert network(frame).shape == (1, *stage.feature_shape((90, 70, 3)))


def test_without_a_choice_it_is_the_whole_resnet():
    assert TrunkStage() == TrunkStage("resnet10t", 32)


def test_fingerprints_name_the_network_and_the_stage_but_for_the_whole_resnet():
    assert TrunkStage().fingerprint("ab12") == "ab12"
    assert TrunkStage("resnet10t", 16).fingerprint("ab12") == "resnet10t-stride16-ab12"
    lite = TrunkStage("efficientnet_lite0")
    assert lite.fingerprint("ab12") == "efficientnet_lite0-stride32-ab12"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"trunk": "resnet18"}, r"trunk='resnet18': must be one of \('resnet10t', 'efficient"),
        ({"stride": 4}, r"stride=4: must be one of \(8, 16, 32\)"),
        ({"stride": "8"}, "stride='8': must be one of"),
    ],
)
def test_other_networks_and_stages_are_refused_by_name(chosen, message):
    with pytest.raises(ValueError, match=message):
        TrunkStage(**chosen)
