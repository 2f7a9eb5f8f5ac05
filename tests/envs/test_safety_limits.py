"""Limits of the safety layer and their ranges."""

import dataclasses

import numpy as np
import pytest

from envs.safety import SafetyLayer, SafetyLimits


def test_options_are_checked_by_name():
    built = SafetyLimits.from_options({"max_speed": 1, "joints": {"gripper": [0, 1]}})
    assert built == SafetyLimits(max_speed=1.0, joints={"gripper": [0, 1]})
    assert SafetyLimits.from_options(None) == SafetyLimits()
    with pytest.raises(
        TypeError, match=r"safety has no option 'max_sped': did you mean 'max_speed'"
    ):
        SafetyLimits.from_options({"max_sped": 1})
    with pytest.raises(TypeError, match=r"no option 'elbow': did you mean 'elbow_flex'"):
        SafetyLimits.from_options({"joints": {"elbow": [0, 1]}})
    with pytest.raises(ValueError, match=r"safety.on_load must be one of"):
        SafetyLimits.from_options({"on_load": "drop"})
    with pytest.raises(ValueError, match=r"safety.min_voltage is 8, above safety.max_voltage of 7"):
        SafetyLimits.from_options({"min_voltage": 8, "max_voltage": 7})
    for wrong in ([0.0, 2.0], [1.0, 0.0], 0.3, [0.1]):
        with pytest.raises(ValueError, match=r"safety.joints.gripper must be"):
            SafetyLayer(SafetyLimits.from_options({"joints": {"gripper": wrong}}))


@pytest.mark.parametrize(
    "name",
    [each.name for each in dataclasses.fields(SafetyLimits) if isinstance(each.default, float)],
)
def test_every_figure_has_a_range(name):
    for wrong in (-1.0, 1000.0, np.nan, "fast", None):
        with pytest.raises(ValueError, match=f"safety.{name} must be a number from"):
            SafetyLimits.from_options({name: wrong})
