"""Simulated persons of a comparison."""

from __future__ import annotations

import pytest

from e2hil_rllib.settings.yaml_file import SettingsError
from tests.tune_scripts.reach import reach
from tune_scripts.compare.persons import SETTINGS_PERSON, TRAITS, Person, all_persons

NOTHING = dict.fromkeys(TRAITS)


def test_without_values_there_is_the_person_of_the_settings_file():
    assert all_persons(NOTHING) == [SETTINGS_PERSON]
    assert SETTINGS_PERSON.name == ""
    settings = reach(env={"operator": {"skill": 0.8}})
    assert SETTINGS_PERSON.watches("reach", settings) == settings
    assert SETTINGS_PERSON.watches("reach", reach()) == reach()  # nobody watches there


def test_every_combination_is_a_person_once():
    persons = all_persons(NOTHING | {"patience": [0.6, 1.5, 0.6], "skill": [0.5, 1.0]})
    assert [person.name for person in persons] == [
        "patience_0.6_skill_0.5",
        "patience_0.6_skill_1",
        "patience_1.5_skill_0.5",
        "patience_1.5_skill_1",
    ]


def test_a_person_changes_their_traits_alone():
    settings = reach(env={"limit": 9, "operator": {"skill": 0.8, "attention": 0.9}})
    watched = Person((("attention", 0.5), ("patience", 3.0))).watches("reach", settings)
    operator = {"skill": 0.8, "attention": 0.5, "patience": 3}
    assert watched.env == {"limit": 9, "operator": operator}
    assert settings.env["operator"]["attention"] == 0.9


@pytest.mark.parametrize("env", [{}, {"operator": None}])
def test_a_task_without_a_person_is_refused(env):
    with pytest.raises(SettingsError, match=r"task reach has no simulated person.*--patience out"):
        Person((("patience", 3.0),)).watches("reach", reach(env=env))
