"""Settings files: what they mean, and what is said about a wrong one."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from e2hil_rllib.settings.run_settings import (
    ALGORITHM_SECTIONS,
    Settings,
    changed_keys,
    load_settings,
)
from e2hil_rllib.settings.sections import External
from e2hil_rllib.settings.yaml_file import SettingsError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
SMALL = "task: Pendulum-v1\nstop: {steps: 100}\n"


def settings_of(folder: Path, text: str, *overrides: str) -> Settings:
    path = folder / "mine.yaml"
    path.write_text(text)
    return load_settings(path, list(overrides))


def fault_of(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(SettingsError) as error:
        settings_of(folder, text, *overrides)
    return str(error.value)


def test_a_key_that_is_left_out_is_not_passed_to_the_algorithm(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, SMALL + "training: {utd_ratio: 4, grad_clip: null}\n")
    assert settings.arguments("training") == {"utd_ratio": 4, "grad_clip": None}
    assert settings.arguments("entropy_selection") == {}


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, SMALL)
    with pytest.raises(ValidationError, match="frozen"):
        settings.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "training: {udt_ratio: 2}",
            "there is no key 'training.udt_ratio'. Did you mean utd_ratio?",
        ),
        ("entropy_selecton: {}", "there is no key 'entropy_selecton'. Did you mean entropy_sel"),
        ("checkpoint: {zzz: 1}", "Valid: every_minutes, every_steps, keep."),
        ("demonstrations: {recrod: 3, path: x}", "'demonstrations.recrod'. Did you mean record?"),
        ("training: {utd_ratio: two}", "'training.utd_ratio' is 'two', expected: a valid integer"),
        ("training: {gamma: yes}", "'training.gamma' is True, expected: a valid number"),
        ("stop: {steps: 0}", "'stop.steps' is 0, expected: greater than 0"),
        ("seed: 1.5", "'seed' is 1.5, expected: a valid integer"),
        ("entropy_selection: {rule: best}", "'entropy', 'log_entropy' or 'random'"),
        ("demonstrations: {}", "either 'record'"),
        ("demonstrations: {record: 3, path: here}", "either 'record'"),
        ("training: 3", "'training' is 3"),
        ("training: {target_entropy: full}", "'training.target_entropy' is 'full', expected: a"),
        (
            "training: {hidden_sizes: [64, x]}",
            "'training.hidden_sizes' is 'x', expected: a valid i",
        ),
        ("external: {prot: 1}", "there is no key 'external.prot'. Did you mean port?"),
        ("external: {port: 0}", "'external.port' is 0, expected: greater than or equal to 1"),
        ("external: {chunk_steps: 501}", "'external.chunk_steps' is 501, expected: less than"),
        ("external: {hold_after: 0}", "'external.hold_after' is 0, expected: greater than 0"),
        (
            "external: {lowest_update_ratio: 3, highest_update_ratio: 2}",
            "lowest_update_ratio (3.0) cannot exceed highest_update_ratio (2.0)",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_file(
    tmp_path: Path, text: str, message: str
) -> None:
    lines = "task: Pendulum-v1\n" + text + ("" if "stop" in text else "\nstop: {steps: 9}")
    fault = fault_of(tmp_path, lines)
    assert message in fault and "mine.yaml" in fault


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    fault = fault_of(tmp_path, "seed: x\ntraning: {}\n")
    assert [line.split(": ", 1)[1].split(".")[0] for line in fault.splitlines()] == [
        "the key 'task' is missing",
        "'seed' is 'x', expected: a valid integer",
        "the key 'stop' is missing",
        "there is no key 'traning'",
    ]


def test_files_that_are_not_settings(tmp_path: Path) -> None:
    assert "not valid YAML" in fault_of(tmp_path, "task: [")
    assert "expected 'key: value'" in fault_of(tmp_path, "- task")
    assert "'seed' stands there twice" in fault_of(tmp_path, SMALL + "seed: 1\nseed: 2\n")
    with pytest.raises(SettingsError, match=r"Did you mean .*mine\.yaml"):
        load_settings(tmp_path / "mein.yaml")


def test_overrides_are_yaml_and_reach_every_level(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        SMALL,
        "training.actor_lr=3e-4",
        "env.operator.skill=0.5",
        "demonstrations={path: demos}",
        "stop.autonomous_success_rate=0.9",
    )
    assert settings.training.actor_lr == 3e-4
    assert settings.env == {"operator": {"skill": 0.5}}
    assert settings.demonstrations is not None and settings.demonstrations.path == "demos"
    assert settings.stop.steps == 100 and settings.stop.autonomous_success_rate == 0.9


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainin.utd_ratio=4", "Did you mean training?"),
        ("training.utd=4", "Did you mean utd_ratio?"),
        ("training.utd_ratio", "expected key=value"),
        ("seed.x=1", "it has no keys below"),
        ("seed=[", "not valid YAML"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, override: str, message: str) -> None:
    assert message in fault_of(tmp_path, SMALL + "seed: 1\n", override)


def test_resolved_settings_read_back_the_same(tmp_path: Path) -> None:
    text = SMALL + "training: {grad_clip: null}\nenv: {operator: {skill: 1}}\n"
    settings = settings_of(tmp_path, text, "demonstrations.path=" + str(tmp_path))
    again = settings_of(tmp_path, settings.to_yaml())
    assert again.resolved() == settings.resolved()
    assert again.arguments("training") == {"grad_clip": None}
    assert yaml.safe_load(settings.to_yaml())["checkpoint"]["every_steps"] == 1000


def test_what_a_begun_run_cannot_change_is_found(tmp_path: Path) -> None:
    old = settings_of(tmp_path, SMALL + "env: {operator: {skill: 1}}\n")
    longer = settings_of(tmp_path, old.to_yaml(), "stop.steps=200", "evaluation.episodes=5")
    assert changed_keys(old, longer) == []
    other = settings_of(tmp_path, old.to_yaml(), "training.utd_ratio=3", "env.operator.skill=0")
    assert changed_keys(old, other) == ["env.operator.skill", "training.utd_ratio"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_shipped_files_are_valid(path: Path) -> None:
    settings = load_settings(path)
    if path.stem not in ("pendulum", "so101_real"):
        assert settings.demonstrations is not None and settings.demonstrations.record == 10


def test_every_key_says_what_it_is_for() -> None:
    def check(model: Any) -> None:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            if isinstance(field.default, Settings.__base__):
                check(type(field.default))

    check(Settings)
    check(External)


@pytest.mark.parametrize("section", ALGORITHM_SECTIONS)
def test_the_algorithm_takes_every_key_of_its_sections(section: str) -> None:
    from e2hil_rllib.config import E2HiLConfig

    accepted = inspect.signature(getattr(E2HiLConfig, section)).parameters
    config = E2HiLConfig()
    keys = getattr(Settings.model_construct(), section).model_dump()
    assert [key for key in keys if key not in accepted and not hasattr(config, key)] == []


def test_a_success_classifier_wants_an_environment_that_does_not_judge(tmp_path: Path) -> None:
    file = tmp_path / "judged.yaml"
    text = "task: T\nstop: {steps: 1}\nsuccess_classifier: {path: judges/touch}\n"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"set env\.reward to external"):
        load_settings(file)
    file.write_text(text + "env: {reward: external}\n")
    settings = load_settings(file)
    judge = settings.judge()
    assert judge is not None
    assert (judge.agree, judge.window, judge.threshold) == (2, 3, None)
    assert Path(settings.resolved()["success_classifier"]["path"]).is_absolute()
    with pytest.raises(SettingsError, match=r"agree \(4\) cannot exceed window \(3\)"):
        load_settings(file, ["success_classifier.agree=4"])


def test_the_file_of_trunk_weights_is_named_absolutely(tmp_path: Path) -> None:
    file = tmp_path / "seeing.yaml"
    file.write_text("task: T\nstop: {steps: 1}\nvision: {encoder: frozen}\n")
    for given, kept in (("seed:3", True), ("owner/model", True), ("mine.safetensors", False)):
        settings = load_settings(file, [f"vision.trunk_weights='{given}'"])
        resolved = settings.resolved()["vision"]["trunk_weights"]
        assert (resolved == given) is kept
        assert kept or Path(resolved).is_absolute()


ARM = SMALL + "env: {follower: {port: /dev/ttyACM0}}\n"


def test_a_physical_arm_is_in_a_process_of_its_own_and_others_where_the_file_says_so(
    tmp_path: Path,
) -> None:
    assert settings_of(tmp_path, SMALL).robots is None
    arm = settings_of(tmp_path, ARM)
    assert arm.physical and arm.external is None and arm.robots == External()
    for text in (SMALL, ARM):
        robots = settings_of(tmp_path, text + "external: {port: 4000}\n").robots
        assert robots is not None and robots.port == 4000


def test_with_robots_checkpoints_come_by_time_unless_the_file_says_otherwise(
    tmp_path: Path,
) -> None:
    minutes = "checkpoint: {every_minutes: 2}\n"
    assert settings_of(tmp_path, SMALL).checkpoint_minutes is None
    assert settings_of(tmp_path, SMALL + minutes).checkpoint_minutes == 2
    assert settings_of(tmp_path, ARM).checkpoint_minutes == 5
    assert settings_of(tmp_path, ARM + minutes).checkpoint_minutes == 2


def test_a_run_may_go_on_with_its_robots_elsewhere(tmp_path: Path) -> None:
    old = settings_of(tmp_path, SMALL + "external: {port: 4000, token_file: secret}\n")
    again = settings_of(tmp_path, old.to_yaml())
    assert again.resolved() == old.resolved() and again.external == old.external
    moved = settings_of(tmp_path, old.to_yaml(), "external.host=0.0.0.0", "external.port=1")
    assert changed_keys(old, moved) == []


def test_a_resumed_run_keeps_its_presets_numbers_and_nothing_else(tmp_path: Path) -> None:
    begun = settings_of(tmp_path, SMALL, "imitation.weight=7", "training.utd_ratio=3")
    resumed = settings_of(tmp_path, SMALL).with_preset_of(begun)
    assert resumed.imitation.weight == 7 and "utd_ratio" not in resumed.arguments("training")
    assert changed_keys(begun, resumed) == ["training.utd_ratio"]
    other = settings_of(tmp_path, SMALL, "preset=hil_serl")
    assert other.with_preset_of(begun) == other
