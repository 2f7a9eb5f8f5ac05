"""The settings of a run: what a YAML file may say as a whole, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from e2hil_rllib.classifier.judge import Judge
from e2hil_rllib.method.selection import SelectionSettings
from e2hil_rllib.networks.vision_settings import VisionSettings, absolute_source
from e2hil_rllib.section import Section
from e2hil_rllib.settings.presets import preset_settings
from e2hil_rllib.settings.sections import (
    ALGORITHM_SECTIONS,
    Checkpoint,
    Demonstrations,
    Evaluation,
    External,
    HumanInTheLoop,
    Imitation,
    Resources,
    Stop,
    SuccessClassifier,
    Training,
)
from e2hil_rllib.settings.yaml_file import SettingsError, explain, read_yaml, with_overrides

# What a resumed run may be told anew; the rest is part of what its checkpoint was trained with.
CHANGEABLE_ON_RESUME = ("stop", "checkpoint", "evaluation", "evaluation_env", "external")


_ROBOTS_CHECKPOINT = 5.0  # [min]


class Settings(Section):
    """All that defines a run."""

    task: str
    """Id of a gymnasium environment, e.g. envs:SO101TouchCube-v0."""
    env: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the environment."""
    evaluation_env: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments that differ in evaluation, where the operator is off in any case."""
    preset: Literal["default", "hil_serl", "e2hil_paper"] = "default"
    """The method: what we found best, HIL-SERL or E2HiL as published. What the sections below give
    counts more."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything that is drawn."""
    stop: Stop
    """When training ends."""
    demonstrations: Demonstrations | None = None
    """Where demonstrations come from; null: there are none."""
    entropy_selection: SelectionSettings = SelectionSettings()
    """Which samples the actor learns from."""
    human_in_the_loop: HumanInTheLoop = HumanInTheLoop()
    """What the algorithm takes from people."""
    imitation: Imitation = Imitation()
    """How the actor imitates people."""
    success_classifier: SuccessClassifier | None = None
    """Who judges success; null: the environment itself."""
    vision: VisionSettings = VisionSettings()
    """How camera frames are encoded."""
    training: Training = Training()
    """The learner."""
    resources: Resources = Resources()
    """The machine."""
    external: External | None = None
    """Robots in processes of their own; null: the environment is in the learner's."""
    checkpoint: Checkpoint = Checkpoint()
    """When checkpoints are written."""
    evaluation: Evaluation = Evaluation()
    """Episodes without exploration and without a human."""

    @model_validator(mode="after")
    def _one_judge(self) -> Settings:
        if self.success_classifier is not None and self.env.get("reward") != "external":
            raise ValueError(
                "with a success_classifier, set env.reward to external: otherwise the environment "
                "judges as well"
            )
        return self

    @model_validator(mode="after")
    def _evaluated_on_the_way(self) -> Settings:
        if self.stop.lasting_success is not None and self.evaluation.every_steps is None:
            raise ValueError(
                "stop.lasting_success waits for evaluations on the way: set evaluation.every_steps"
            )
        return self

    @property
    def physical(self) -> bool:
        """Whether the environment is a physical arm, or a virtual one."""
        return "follower" in self.env

    @property
    def robots(self) -> External | None:
        """How robots and learner find each other; None where the environment is the learner's.

        A physical arm is always in a process of its own.
        """
        return External() if self.external is None and self.physical else self.external

    @property
    def checkpoint_minutes(self) -> float | None:
        """Time between two checkpoints [min], None where they go by steps alone."""
        if self.checkpoint.every_minutes is not None or self.robots is None:
            return self.checkpoint.every_minutes
        return _ROBOTS_CHECKPOINT

    def judge(self) -> Judge | None:
        """The success classifier that wraps the environments, if there is one."""
        return None if self.success_classifier is None else self.success_classifier.judge()

    def arguments(self, section: str) -> dict[str, Any]:
        """The keyword arguments that the file gave to one of `ALGORITHM_SECTIONS`."""
        arguments: dict[str, Any] = getattr(self, section).model_dump(exclude_unset=True)
        return arguments

    def resolved(self) -> dict[str, Any]:
        """Everything as plain values: what `config.yaml` of the run folder holds."""
        values = self.model_dump(exclude=set(ALGORITHM_SECTIONS))
        if self.demonstrations is not None:
            chosen = {k: v for k, v in values["demonstrations"].items() if v is not None}
            if "path" in chosen:
                chosen["path"] = str(Path(chosen["path"]).expanduser().resolve())
            values["demonstrations"] = chosen
        values |= {section: self.arguments(section) for section in ALGORITHM_SECTIONS}
        if self.success_classifier is not None:
            values["success_classifier"]["path"] = self.success_classifier.judge().path
        if source := values["vision"].get("trunk_weights"):
            values["vision"]["trunk_weights"] = absolute_source(source)
        return values

    def _given(self) -> dict[str, Any]:
        """Values that the file gave to the algorithm, by attribute of ``E2HiLConfig``."""
        return {
            section.attribute(key): value
            for name, section in ALGORITHM_SECTIONS.items()
            for key, value in self.arguments(name).items()
        }

    def spelled_out(self, preset: Mapping[str, Any] | None = None) -> Settings:
        """The settings with the numbers of their preset among those that are given.

        A run keeps them so, because presets change as the evidence does.

        Args:
            preset: Numbers by attribute of ``E2HiLConfig``; by default those of ``preset``.
        """
        numbers = preset_settings(self.preset) if preset is None else preset
        values = self.model_dump(exclude_unset=True)
        for name, section in ALGORITHM_SECTIONS.items():
            of_preset = {
                key: numbers[section.attribute(key)]
                for key in section.model_fields
                if section.attribute(key) in numbers
            }
            values[name] = of_preset | self.arguments(name)
        return Settings.model_validate(values)

    @property
    def is_spelled_out(self) -> bool:
        """Whether all numbers of the preset are given."""
        return preset_settings(self.preset).keys() <= self._given().keys()

    def with_preset_of(self, begun: Settings) -> Settings:
        """The settings with the numbers that their preset had when a run was started.

        Args:
            begun: Settings of the run; with another preset, these stay as they are.
        """
        if begun.preset != self.preset:
            return self
        given = begun._given()
        numbers = preset_settings(begun.preset)
        return self.spelled_out({name: given.get(name, numbers[name]) for name in numbers})

    def to_yaml(self) -> str:
        """`resolved` as a YAML document that `load_settings` reads back to the same settings."""
        return yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True)


def load_settings(
    path: Path | str, overrides: list[str] | None = None, preset: str | None = None
) -> Settings:
    """Reads a settings file.

    Args:
        path: A YAML file.
        overrides: `key.of.section=value` each; the value is read as YAML.
        preset: Of a file that names none; by default the one of `Settings`.

    Raises:
        SettingsError: The file is absent or not YAML, or a key or a value of it (or of an
            override) is wrong. The message names the file and the dotted path of each key.
    """
    path = Path(path)
    source = f"{path}" + (" with --set" if overrides else "")
    values = with_overrides(read_yaml(path), overrides or [])
    if preset is not None:
        values.setdefault("preset", preset)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, source)) from error


def changed_keys(old: Settings, new: Settings) -> list[str]:
    """Dotted keys that differ and cannot be changed in a run that has begun."""
    before, after = (_flat(each.spelled_out().resolved()) for each in (old, new))
    differing = (key for key in sorted(before | after) if before.get(key) != after.get(key))
    return [key for key in differing if key.split(".")[0] not in CHANGEABLE_ON_RESUME]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        elif value != {}:
            flat[f"{prefix}{key}"] = value
    return flat
