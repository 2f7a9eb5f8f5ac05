"""Every method: its settings, its mask on the batches of real training, its first episodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from e2hil_rllib.data.episodes import read_episodes
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.learning import learner
from e2hil_rllib.method.influence import influence_bounds, selection_mask
from e2hil_rllib.method.selection import Selection
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.build import algorithm_config, build, ray_session
from e2hil_rllib.settings.presets import PRESETS
from e2hil_rllib.settings.run_settings import Settings, changed_keys
from e2hil_rllib.settings.yaml_file import SettingsError
from tests.helpers import policy_weights
from tune_scripts.compare.methods import METHODS, apply_method

SETTINGS = Settings.model_validate(
    {
        "task": "tests.helpers:E2HiLReach-v0",
        "stop": {"steps": 60},
        "entropy_selection": {"diagnostics_interval": 1},
        "human_in_the_loop": {"demonstration_fraction": 0},
        "training": {
            "hidden_sizes": [16, 16], "encoder_size": 16, "train_batch_size_per_learner": 60,
            "steps_per_iteration": 40,
        },
    }
)  # fmt: skip
UNSELECTED = ("hil_serl", "default", "rlpd10")
PUBLISHED = (
    "hil_serl", "e2hil_paper", "random", "upper_only", "lower_only", "log_influence", "rlpd10",
)  # fmt: skip
"""Methods of published settings, and what differs from them in the selection or the critics."""


@dataclass
class Update:
    """One actor update: the judgement of its batch, and the samples in the actor's loss.

    Attributes:
        selection: How the batch was judged.
        mask: What of it the actor's loss takes.
        target_critics: Critics that the target is the least of.
    """

    selection: Selection
    mask: torch.Tensor | None
    target_critics: int

    @property
    def magnitude(self) -> torch.Tensor:
        return self.selection.influence.abs()


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with ray_session(SETTINGS):
        yield


@pytest.fixture(scope="module")
def updates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Update]]:
    """The actor updates of a short training with each method."""
    trained = {*PUBLISHED, *UNSELECTED}
    return {name: train(name, tmp_path_factory.mktemp(name)) for name in METHODS if name in trained}


def train(method: str, folder: Path) -> list[Update]:
    selections: list[Selection] = []
    masks: list[torch.Tensor | None] = []
    critics: list[int] = []

    def select(*args, **kwargs):
        selections.append(original_select(*args, **kwargs))
        return selections[-1]

    def loss(log_prob, q, temperature, mask=None):
        masks.append(mask)
        return original_loss(log_prob, q, temperature, mask)

    def target(reward, terminated, next_q, *args, **kwargs):
        critics.append(len(next_q))
        return original_target(reward, terminated, next_q, *args, **kwargs)

    original_select, original_loss = learner.select_samples, learner.actor_loss
    original_target = learner.critic_target
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "select_samples", select)
        patch.setattr(learner, "actor_loss", loss)
        patch.setattr(learner, "critic_target", target)
        algorithm = build(apply_method(SETTINGS, method), RunFolder(folder))
        algorithm.train()
        algorithm.stop()
    assert len(masks) == len(selections) == 36  # from the fifth step on, one for each step
    return [Update(*seen) for seen in zip(selections, masks, critics[1::2], strict=True)]


def percentile(update: Update, percent: float) -> torch.Tensor:
    return torch.quantile(update.magnitude, percent / 100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "kept"),
    [
        (
            "e2hil_paper",
            lambda u: (percentile(u, 5) <= u.magnitude) & (u.magnitude <= percentile(u, 90)),
        ),
        ("upper_only", lambda u: u.magnitude <= percentile(u, 90)),
        ("lower_only", lambda u: u.magnitude >= percentile(u, 5)),
        (
            "log_influence",
            lambda u: (percentile(u, 5) <= u.magnitude) & (u.magnitude <= percentile(u, 90)),
        ),
    ],
)
def test_a_bounded_method_keeps_what_lies_within_its_bounds(updates, method, kept):
    for update in updates[method]:
        assert torch.equal(update.mask, kept(update))
        assert 0 < (~update.mask).sum() < update.mask.sum()


@pytest.mark.slow
def test_random_keeps_exactly_as_many_as_entropy_would_but_others(updates):
    different = 0
    for update in updates["random"]:
        by_entropy = selection_mask(update.selection.influence, *bounds(update, 5, 90))
        assert update.mask.sum() == by_entropy.sum()
        different += not torch.equal(update.mask, by_entropy)
    assert different > 30


def bounds(update: Update, lower: float, upper: float) -> tuple[torch.Tensor, torch.Tensor]:
    return influence_bounds(update.selection.influence, lower, upper)


@pytest.mark.slow
@pytest.mark.parametrize("method", UNSELECTED)
def test_without_the_selection_the_actor_learns_from_every_sample(updates, method):
    assert all(update.mask is None for update in updates[method])


@pytest.mark.slow
def test_the_first_batch_is_judged_alike_by_all_but_the_rule_and_the_ensemble(updates):
    first = {name: seen[0].selection.influence for name, seen in updates.items()}
    for name in ("hil_serl", "random", "upper_only", "lower_only"):
        assert torch.equal(first[name], first["e2hil_paper"]), name
    assert not torch.allclose(first["log_influence"], first["e2hil_paper"])


@pytest.mark.slow
@pytest.mark.parametrize("method", PUBLISHED)
def test_only_rlpd10_has_more_critics_and_takes_two_of_them_for_the_target(updates, method):
    config = algorithm_config(apply_method(SETTINGS, method), RunFolder("not made"))
    assert config.num_critics == (10 if method == "rlpd10" else 2)
    assert config.num_subsampled_critics == (2 if method == "rlpd10" else None)
    assert {update.target_critics for update in updates[method]} == {2}


@pytest.mark.slow
def test_first_episodes_and_the_operators_draws_are_the_same_for_published_methods(tmp_path):
    """Until learning starts, only the seed matters: a method uses no other random stream."""
    values = SETTINGS.model_dump(exclude_unset=True) | {
        "task": "envs:SO101TouchCube-v0",
        "env": {"operator": {"skill": 0.8, "attention": 0.9}},
        "seed": 3,
    }
    values["training"] |= {"learning_starts": 1000, "steps_per_iteration": 130}
    settings = Settings.model_validate(values)
    logs = {}
    for name in ("hil_serl", "e2hil_paper", "random", "rlpd10"):
        run = RunFolder(tmp_path / name)
        algorithm = build(apply_method(settings, name), run)
        algorithm.train()
        algorithm.stop()
        logs[name] = read_episodes(run.episodes)
    assert logs["e2hil_paper"]
    assert any(episode.is_intervention.any() for episode in logs["e2hil_paper"])
    for name, log in logs.items():
        assert len(log) == len(logs["e2hil_paper"])
        assert all(same(a, b) for a, b in zip(log, logs["e2hil_paper"], strict=True)), name


def same(one: EpisodeSteps, other: EpisodeSteps) -> bool:
    return (
        np.array_equal(one.actions, other.actions)
        and np.array_equal(one.is_intervention, other.is_intervention)
        and np.array_equal(one.observations["state"], other.observations["state"])
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_method_begins_with_its_preset_and_changes_learning_alone(method):
    published = method in PUBLISHED or method == "hil_serl_repaired"
    settings = apply_method(SETTINGS, method)
    assert (settings.preset == "default") is not published
    changed = {key.split(".")[0] for key in changed_keys(SETTINGS, settings)}
    assert changed <= {"preset", "entropy_selection", "imitation", "training"}


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_methods_have_none_of_our_additions(method):
    config = algorithm_config(apply_method(SETTINGS, method), RunFolder("not made"))
    for name, value in PRESETS["e2hil_paper"].items():
        if name != "selection_enabled":
            assert getattr(config, name) == value, name


def test_behaviour_cloning_never_uses_the_critics(tmp_path, monkeypatch):
    """The actor's loss and the selection are not called, the critics do not move."""
    for name in ("actor_loss", "select_samples", "critic_target"):
        monkeypatch.setattr(learner, name, None)
    values = SETTINGS.model_dump(exclude_unset=True)
    values["human_in_the_loop"] = {"demonstration_fraction": 0.5}
    settings = apply_method(Settings.model_validate(values), "bc")
    algorithm = build(settings, RunFolder(tmp_path))
    before = policy_weights(algorithm)
    algorithm.train()
    after = policy_weights(algorithm)
    algorithm.stop()
    moved = {name.split(".")[0] for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {"actor", "target_actor", "encoder", "target_encoder"}


def test_a_method_that_selects_does_so_where_the_file_does_not():
    off = {"enabled": False, "rule": "random", "lower_percentile": 20}
    values = SETTINGS.model_dump(exclude_unset=True) | {"entropy_selection": off}
    selected = apply_method(Settings.model_validate(values), "e2hil_paper").entropy_selection
    assert (selected.enabled, selected.rule, selected.lower_percentile) == (True, "entropy", 20)


def test_an_unknown_method_is_refused_with_the_nearest_name():
    with pytest.raises(SettingsError, match=r"no method 'hilserl'. Did you mean hil_serl"):
        apply_method(SETTINGS, "hilserl")
