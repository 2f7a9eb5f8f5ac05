"""`e2hil settings`, and that each setting is described in one place."""

import inspect
import io

import pytest
from rich.console import Console

from e2hil_rllib.commands.settings import show_settings
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.sections import ALGORITHM_SECTIONS
from e2hil_rllib.settings.yaml_file import SettingsError

FIELDS = [(m, name) for m, section in ALGORITHM_SECTIONS.items() for name in section.model_fields]


def shown(section: str | None = None) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    show_settings(section, console)
    return console.file.getvalue()


def test_every_key_is_listed_with_its_documentation():
    text = shown()
    for name, field in Settings.model_fields.items():
        assert f"{name}:" in text
        for key, inner in getattr(field.annotation, "model_fields", {}).items():
            assert inner.description, f"{name}.{key} has no documentation"
            assert f"  {key}: " in text


def test_a_section_shows_type_range_default_and_presets():
    lines = shown("imitation").splitlines()
    (weight,) = [line for line in lines if line.startswith("  weight:")]
    assert weight.split(": ", 1)[1].split()[:5] == ["100", "float", ">=", "0;", "preset"]
    assert "preset e2hil_paper: 0" in weight
    assert "hidden_sizes: [256, 256]  [int, ...]" in shown("training")


def test_a_mistyped_section_is_refused_with_the_nearest_name():
    with pytest.raises(SettingsError, match=r"no section 'trainig'\. Did you mean training"):
        shown("trainig")


@pytest.mark.parametrize(("method", "name"), FIELDS)
def test_method_and_yaml_key_are_one_setting(method, name):
    """Signature, documentation and default of the method are those of the key."""
    field = ALGORITHM_SECTIONS[method].model_fields[name]
    parameter = inspect.signature(getattr(E2HiLConfig, method)).parameters[name]
    assert parameter.default == field.default
    assert " ".join(field.description.split()) in getattr(E2HiLConfig, method).__doc__
    config = E2HiLConfig()
    assert getattr(config, ALGORITHM_SECTIONS[method].attribute(name)) == field.default


@pytest.mark.parametrize("method", ALGORITHM_SECTIONS)
def test_attributes_of_all_settings_differ(method):
    taken = [
        section.attribute(name)
        for other, section in ALGORITHM_SECTIONS.items()
        for name in section.model_fields
        if other != method
    ]
    section = ALGORITHM_SECTIONS[method]
    assert not {section.attribute(name) for name in section.model_fields} & set(taken)
