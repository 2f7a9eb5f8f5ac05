"""The settings of a run: what a YAML file may say, and what each key means.

The sections `entropy_selection`, `human_in_the_loop`, `vision` and `training` are keyword arguments
of the methods of `E2HiLConfig` that bear the same names. A key that is left out there is not
passed, so that the algorithm's own default holds; the algorithm checks the values, this module the
names and the types.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from e2hil_rllib.classifier.judge import Judge
from e2hil_rllib.settings_file import SettingsError, explain, read_yaml, with_overrides
from e2hil_rllib.vision.settings import absolute_source

ALGORITHM_SECTIONS = ("entropy_selection", "human_in_the_loop", "vision", "training")
# What a resumed run may be told anew; the rest is part of what its checkpoint was trained with.
CHANGEABLE_ON_RESUME = ("stop", "checkpoint", "evaluation", "evaluation_env")


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class Stop(_Section):
    """When training ends."""

    steps: int = Field(gt=0)
    """Steps of the environment, over all of the run."""
    autonomous_success_rate: float | None = Field(default=None, gt=0, le=1)
    """End earlier, once this share of the last 100 episodes succeeded without a human step."""


class Demonstrations(_Section):
    """Where the demonstrations come from: one of the two keys."""

    record: int | None = Field(default=None, gt=0)
    """Record so many at the start of the run, from the person the environment simulates."""
    path: str | None = None
    """A folder of recorded episodes; relative to the folder the command is started in."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Demonstrations:
        if (self.record is None) == (self.path is None):
            raise ValueError("give either 'record' (how many) or 'path' (a folder of episodes)")
        return self


class EntropySelection(_Section):
    """Which samples the actor learns from (Eq. 10-12 of the paper)."""

    enabled: bool | None = None
    """Select samples; off is HIL-SERL's learner."""
    rule: Literal["entropy", "log_entropy", "random"] | None = None
    """How samples are ranked; "random" keeps as many as "entropy" would."""
    num_action_samples: int | None = None
    """K, actions drawn for each state to estimate its influence."""
    lower_percentile: float | None = None
    """Samples below this percentile of the influence are left out as noise; 0 keeps them."""
    upper_percentile: float | None = None
    """Samples above this percentile are left out as shortcuts; 100 keeps them."""
    density_clip: float | None = None
    """Bound of a policy density, before it multiplies the advantage."""
    diagnostics_interval: int | None = None
    """While not enabled, estimate the influence every so many updates all the same."""


class HumanInTheLoop(_Section):
    """What the algorithm takes from people."""

    interventions: bool | None = None
    """Whether somebody may take over while the policy acts."""
    skip_damaged_demonstrations: bool | None = None
    """Leave damaged demonstration files out with a warning, instead of stopping."""
    demonstration_fraction: float | None = None
    """Share of every batch that comes from the demonstration buffer."""


class Vision(_Section):
    """How camera frames are encoded."""

    encoder: Literal["cnn", "frozen"] | None = None
    """Train a small CNN ("cnn"), or a head on a frozen ResNet-10-T's features ("frozen")."""
    trunk_weights: str | None = None
    """Of the frozen trunk: "seed:N", a .safetensors file, or a hub id."""
    random_shift: int | None = None
    """Largest random shift of the CNN's frames in training [pixels]; 0 is without."""


class SuccessClassifier(_Section):
    """A trained classifier that gives reward and success; the environment's reward is external."""

    path: str
    """Folder that `e2hil classifier train` wrote; relative to where the command is started."""
    agree: int = Field(default=2, gt=0)
    """Frames that must show success."""
    window: int = Field(default=3, gt=0)
    """Out of how many of the last."""
    threshold: float | None = Field(default=None, gt=0, lt=1)
    """From which probability on a frame shows success; null takes the classifier's own."""

    @model_validator(mode="after")
    def _agree_within_window(self) -> SuccessClassifier:
        if self.agree > self.window:
            raise ValueError(f"agree ({self.agree}) cannot exceed window ({self.window})")
        return self

    def judge(self) -> Judge:
        """What wraps the environments."""
        return Judge(self.path, self.agree, self.window, self.threshold)


class Training(_Section):
    """The learner."""

    utd_ratio: int | None = None
    """Minibatches per step of the environment."""
    num_critics: int | None = None
    """Critics in the ensemble."""
    num_subsampled_critics: int | None = None
    """Critics drawn at random for each target (RLPD); null takes all of them."""
    backup_entropy: bool | None = None
    """Whether the target of the critics contains the entropy term."""
    train_batch_size_per_learner: int | None = None
    """Transitions in a minibatch."""
    gamma: float | None = None
    """Discount per step."""
    tau: float | None = None
    """Share of the new weights in each update of the target network."""
    actor_lr: float | None = None
    """Learning rate of the actor."""
    critic_lr: float | None = None
    """Learning rate of the critics and the encoder."""
    alpha_lr: float | None = None
    """Learning rate of the temperature."""
    initial_alpha: float | None = None
    """Temperature at the start."""
    target_entropy: float | Literal["auto"] | None = None
    """Entropy the temperature steers to, [nats]; "auto" is minus half the action's dimension."""
    grad_clip: float | None = None
    """Bound of the gradients' norm; null does without."""
    hidden_sizes: list[int] | None = None
    """Widths of the hidden layers of actor and critics."""
    encoder_size: int | None = None
    """Width of the latent of each observation entry."""
    online_capacity: int | None = None
    """Transitions that the online buffer holds."""
    demonstration_capacity: int | None = None
    """Transitions that the demonstration buffer holds."""
    learning_starts: int | None = None
    """Online transitions before the first update."""
    steps_per_iteration: int | None = None
    """Steps of the environment in an iteration, which is a row of progress.csv."""
    checkpoint_buffers: bool | None = None
    """Whether checkpoints hold both buffers; without them, a resumed run starts with empty ones."""
    torch_threads: int | None = None
    """Threads of each process; networks as small as these are fastest on one."""


class Resources(_Section):
    """The machine."""

    num_env_runners: int = Field(default=0, ge=0)
    """Processes that step environments beside the learner; 0 steps it in the learner's own."""
    num_learners: int = Field(default=0, ge=0)
    """Processes that learn; 0 learns in the command's own."""
    num_gpus_per_learner: float = Field(default=0, ge=0)
    """GPUs that each learner takes."""


class Checkpoint(_Section):
    """When checkpoints are written, and how many stay."""

    every_steps: int = Field(default=1000, gt=0)
    """Steps of the environment between two checkpoints; there is one at the end anyway."""
    keep: int = Field(default=2, gt=0)
    """Newest checkpoints that stay on disk."""


class Evaluation(_Section):
    """Episodes without exploration and without a human."""

    episodes: int = Field(default=50, gt=0)
    """Episodes of an evaluation, each with a seed of its own."""
    every_steps: int | None = Field(default=None, gt=0)
    """Steps of the environment between two evaluations; null evaluates at the end only."""
    seed: int = Field(default=100_000, ge=0)
    """Seed of the first episode; the next ones count up."""


class Settings(_Section):
    """All that defines a run."""

    task: str
    """Id of a gymnasium environment, e.g. envs:SO101TouchCube-v0."""
    env: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the environment."""
    evaluation_env: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments that differ in evaluation, where the operator is off in any case."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything that is drawn."""
    stop: Stop
    """When training ends."""
    demonstrations: Demonstrations | None = None
    """Where demonstrations come from; null: there are none."""
    entropy_selection: EntropySelection = EntropySelection()
    """Which samples the actor learns from."""
    human_in_the_loop: HumanInTheLoop = HumanInTheLoop()
    """What the algorithm takes from people."""
    success_classifier: SuccessClassifier | None = None
    """Who judges success; null: the environment itself."""
    vision: Vision = Vision()
    """How camera frames are encoded."""
    training: Training = Training()
    """The learner."""
    resources: Resources = Resources()
    """The machine."""
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

    def to_yaml(self) -> str:
        """`resolved` as a YAML document that `load_settings` reads back to the same settings."""
        return yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True)


def load_settings(path: Path | str, overrides: list[str] | None = None) -> Settings:
    """Reads a settings file.

    Args:
        path: A YAML file.
        overrides: `key.of.section=value` each; the value is read as YAML.

    Raises:
        SettingsError: The file is absent or not YAML, or a key or a value of it (or of an
            override) is wrong. The message names the file and the dotted path of each key.
    """
    path = Path(path)
    source = f"{path}" + (" with --set" if overrides else "")
    values = with_overrides(read_yaml(path), overrides or [])
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, source)) from error


def changed_keys(old: Settings, new: Settings) -> list[str]:
    """Dotted keys that differ and cannot be changed in a run that has begun."""
    before, after = _flat(old.resolved()), _flat(new.resolved())
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
