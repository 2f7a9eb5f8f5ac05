"""Plan of a comparison: its trials, finished and begun ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2hil_rllib.run.progress import STEP, write_rows
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.run_settings import load_settings
from e2hil_rllib.settings.yaml_file import SettingsError
from tests.tune_scripts.reach import reach, write_task
from tune_scripts.compare.command import BUDGETS, CONFIGS
from tune_scripts.compare.demonstrations import folder_of, with_demonstrations
from tune_scripts.compare.methods import METHODS, apply_method, with_settings
from tune_scripts.compare.persons import all_persons
from tune_scripts.compare.plan import (
    PlanError,
    check_begun,
    config_hash,
    is_finished,
    load_task,
    plan_trials,
)


def plan(**values):
    return plan_trials({"reach": reach(**values)}, ["e2hil_paper", "hil_serl"], range(2))


def test_a_plan_has_every_task_method_and_seed_once_and_seeds_first():
    trials = plan_trials({"a": reach(), "b": reach()}, ["e2hil_paper", "random"], range(2))
    assert [trial.name for trial in trials] == [
        f"{task} {method} seed {seed}"
        for seed in (0, 1)
        for task in ("a", "b")
        for method in ("e2hil_paper", "random")
    ]
    assert [trial.settings.seed for trial in trials] == [0] * 4 + [1] * 4
    assert trials[-1].run_dir == "trials/b/random/seed_1"


def test_each_person_has_trials_of_their_own():
    watched = reach(env={"operator": {"skill": 0.8}})
    persons = all_persons({"patience": [0.6, 3.0], "skill": None, "attention": [0.5]})
    trials = plan_trials({"reach": watched}, ["e2hil_paper", "hil_serl"], range(1), persons)
    assert [trial.person for trial in trials] == ["patience_0.6_attention_0.5"] * 2 + [
        "patience_3_attention_0.5"
    ] * 2
    assert trials[0].run_dir == "trials/reach/e2hil_paper/patience_0.6_attention_0.5/seed_0"
    assert trials[3].name == "reach hil_serl patience_3_attention_0.5 seed 0"
    operator = {"skill": 0.8, "patience": 3, "attention": 0.5}
    assert trials[3].settings.env == {"operator": operator}
    assert len({trial.config_hash for trial in trials}) == 4
    folders = {folder_of(trial, Path("out")) for trial in trials}
    assert folders == {Path(f"out/demonstrations/reach/{person.name}/seed_0") for person in persons}
    assert folder_of(plan()[0], Path("out")) == Path("out/demonstrations/reach/seed_0")


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("seed=5", True),
        ("checkpoint.every_steps=7", True),
        ("resources.num_gpus_per_learner=0.5", True),
        ("stop.steps=61", False),
        ("training.gamma=0.9", False),
        ("env.human_every=3", False),
        ("evaluation.episodes=3", False),
        ("entropy_selection.upper_percentile=91", False),
    ],
)
def test_the_hash_differs_for_settings_that_change_the_result(override, same):
    assert (config_hash(with_settings(reach(), override)) == config_hash(reach())) == same


def test_every_method_has_a_hash_of_its_own():
    assert len({config_hash(apply_method(reach(), name)) for name in METHODS}) == len(METHODS)


def test_the_hash_does_not_depend_on_keys_that_are_at_their_default(tmp_path):
    written = tmp_path / "config.yaml"
    written.write_text(reach().to_yaml())
    assert config_hash(load_settings(written)) == config_hash(reach())


def row_of(trial, **values):
    known = {"task": trial.task, "method": trial.method, "seed": str(trial.seed), "person": ""}
    return known | {"config_hash": trial.config_hash, "code_version": "abc"} | values


@pytest.mark.parametrize(
    ("other", "any_version", "finished"),
    [
        ({}, False, True),
        ({"code_version": "def"}, False, False),
        ({"code_version": "def"}, True, True),
        ({"code_version": "def+abc"}, False, True),
        ({"code_version": "def+abcd"}, False, False),
        ({"config_hash": "0"}, True, False),
        ({"seed": "1"}, True, False),
        ({"method": "random"}, True, False),
        ({"task": "touch"}, True, False),
        ({"person": "patience_3"}, True, False),
    ],
)
def test_a_trial_is_finished_with_a_row_of_its_settings_and_this_code(other, any_version, finished):
    trial = plan()[0]
    assert is_finished(trial, [row_of(trial, **other)], "abc", any_version) == finished


def begun(trial, out, steps=20.0, **values):
    run = RunFolder(out / trial.run_dir)
    run.root.mkdir(parents=True)
    run.write_settings(with_settings(trial.settings, **values) if values else trial.settings)
    write_rows(run.progress, [{STEP: steps}])


def test_a_begun_run_is_resumed(tmp_path):
    trial = plan(demonstrations={"record": 3})[0]
    check_begun(trial, tmp_path, [], "abc")
    begun(trial, tmp_path)
    RunFolder(tmp_path / trial.run_dir).write_settings(
        with_demonstrations(trial.settings, tmp_path / "demonstrations")
    )
    check_begun(trial, tmp_path, ["abc"], "abc")
    check_begun(trial, tmp_path, ["def", "abc"], "abc")
    check_begun(plan(stop={"steps": 100}, demonstrations={"record": 3})[0], tmp_path, [], "abc")


def test_a_run_that_ended_later_than_asked_is_resumed(tmp_path):
    """A killed run counts the episodes since its checkpoint, and ends after a whole iteration."""
    begun(plan()[0], tmp_path, steps=79.0)
    check_begun(plan()[0], tmp_path, ["abc"], "abc")


def test_damaged_progress_is_named(tmp_path):
    begun(plan()[0], tmp_path)
    progress = RunFolder(tmp_path / plan()[0].run_dir).progress
    with progress.open("a") as file:
        file.write("\0\0\0\n")
    with pytest.raises(PlanError, match=f"{progress} cannot be read.*train this trial again"):
        check_begun(plan()[0], tmp_path, ["abc"], "abc")


def test_a_run_of_other_settings_more_steps_or_other_code_is_refused(tmp_path):
    begun(plan()[0], tmp_path, steps=60.0)
    with pytest.raises(PlanError, match=r"other values of evaluation_env|other values of env"):
        check_begun(plan(env={"human_every": 3})[0], tmp_path, [], "abc")
    with pytest.raises(PlanError, match="at step 60 already, beyond the 40 wanted"):
        check_begun(plan(stop={"steps": 40})[0], tmp_path, [], "abc")
    with pytest.raises(PlanError, match="begun by the code def, the present one is abc"):
        check_begun(plan()[0], tmp_path, ["def"], "abc")


def test_a_task_is_a_settings_file_in_simulation(tmp_path):
    write_task(tmp_path, "reach")
    write_task(tmp_path, "wide", resources={"num_env_runners": 2})
    assert load_task(tmp_path, "reach", ["stop.steps=7"]).stop.steps == 7
    with pytest.raises(SettingsError, match=r"no task 'rech'.*Did you mean reach"):
        load_task(tmp_path, "rech", [])
    with pytest.raises(PlanError, match="a trial is one process"):
        load_task(tmp_path, "wide", [])
    with pytest.raises(PlanError, match="one of a robot"):
        load_task(CONFIGS, "so101_real", [])


def test_every_budget_is_one_of_a_task():
    for task, steps in BUDGETS.items():
        assert load_task(CONFIGS, task, [f"stop.steps={steps}"]).stop.steps == steps
