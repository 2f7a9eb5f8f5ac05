"""The sections of a settings file, each with what its keys mean.

Those in ``ALGORITHM_SECTIONS`` are the keyword arguments of the methods of ``E2HiLConfig`` with the
same names; their defaults are those of the preset ``default``. A key that a file leaves out is not
passed, so that the preset's value holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from e2hil_rllib.classifier.judge import Judge
from e2hil_rllib.method.selection import SelectionSettings
from e2hil_rllib.networks.vision_settings import VisionSettings
from e2hil_rllib.section import Section


class Stop(Section):
    """End of training."""

    steps: int = Field(gt=0)
    """Steps of the environment, over all of the run."""
    autonomous_success_rate: float | None = Field(default=None, gt=0, le=1)
    """End earlier, once this share of the last 100 episodes succeeded without a human step, and
    there were as many."""
    lasting_success: float | None = Field(default=None, gt=0, le=1)
    """End earlier, once three evaluations in a row reached this success; they take place every
    `evaluation.every_steps`."""


class Demonstrations(Section):
    """Source of the demonstrations: one of the two keys."""

    record: int | None = Field(default=None, gt=0)
    """Record so many at the start of the run, from the person the environment simulates."""
    path: str | None = None
    """A folder of recorded episodes; relative to the folder the command is started in."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Demonstrations:
        if (self.record is None) == (self.path is None):
            raise ValueError("give either 'record' (how many) or 'path' (a folder of episodes)")
        return self


class HumanInTheLoop(Section):
    """Human data that the algorithm learns from."""

    interventions: bool = True
    """Whether somebody may take over while the policy acts, which the environment reports in its
    ``info``."""
    skip_damaged_demonstrations: bool = False
    """Leave damaged demonstration files out with a warning, instead of stopping with an error."""
    demonstration_fraction: float = Field(default=0.5, ge=0, le=1)
    """Share of every minibatch that comes from the demonstration buffer, once that holds
    anything."""


class Imitation(Section):
    """Imitation of people by the actor."""

    attributes: ClassVar[Mapping[str, str]] = {
        "weight": "imitation_weight",
        "rows": "imitated_rows",
        "dropout": "imitation_dropout",
    }

    weight: float = Field(default=100.0, ge=0)
    """β, weight of the imitation loss in the actor's; 0 is without."""
    rows: Literal["all", "selected"] = "all"
    """Steps of people that are imitated: ``"all"``, or those ``"selected"`` by the entropy
    selection, where it is enabled."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the actor's hidden activations that is dropped where it imitates. A person's few
    steps are learned by heart without."""
    q_filter_starts: int | None = Field(default=None, ge=0)
    """Actor updates after which people's actions are imitated only where the critics find them
    better than the policy's; null imitates all to the end."""
    warm_start_updates: int = Field(default=0, ge=0)
    """Minibatches of demonstrations that are learned before the first step: the actor imitates
    them, the critics learn their returns. 0 is without."""
    reinforcement: bool = True
    """Whether the actor learns from the critics; without, it imitates alone (behaviour cloning,
    with takeovers HG-DAgger), and the critics do not learn."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Imitation:
        if not self.reinforcement and not self.weight:
            raise ValueError(
                "reinforcement=False leaves the actor imitation alone, and imitation weight=0 not "
                "even that. Set imitation.weight above 0"
            )
        return self


class SuccessClassifier(Section):
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


LearningRate = Annotated[float, Field(gt=0)] | list[tuple[int, float]]
Layer = Annotated[int, Field(ge=1)]
Scale = Annotated[float, Field(gt=0)]


class Training(Section):
    """Settings of the learner."""

    utd_ratio: int = Field(default=2, ge=1)
    """Minibatches per step of the environment; the critics learn from all, the actor from the
    last."""
    num_critics: int = Field(default=2, ge=1)
    """Critics in the ensemble."""
    num_subsampled_critics: int | None = Field(default=None, ge=1)
    """Critics drawn at random for each target (RLPD); null takes all of them."""
    backup_entropy: bool = False
    """Whether the critics' target contains the entropy term."""
    n_step: int = Field(default=1, ge=1)
    """Steps of rewards in the critics' target before it bootstraps; fewer where control changes
    hands or the episode ends."""
    monte_carlo_floor: bool = False
    """Whether the target of a step from which a person reached success alone is at least the return
    that they reached."""
    lowest_return: float | Literal["auto"] | None = None
    """Least that an episode can return, which bounds the critics' target; null is without a bound,
    ``"auto"`` takes what the environment says (0 where success is the only reward)."""
    highest_return: float | Literal["auto"] | None = "auto"
    """Most that an episode can return; null and ``"auto"`` as above (1 where success is the only
    reward). Demonstrations that break a bound are refused, episodes warned about."""
    exploration_noise: float = Field(default=0.1, ge=0)
    """κ, factor on the noise that the policy explores with."""
    averaged_policy: bool = True
    """Whether the policy that acts is an average of the learned ones, which follows them with
    ``tau`` as the target network does."""
    fine_scales: tuple[Scale, ...] = Field(default=(3.0, 9.0), strict=False)
    """Factors k at which the vectors of an observation are seen as tanh(k·x) next to x, which is
    scaled to the unit box; an empty list does without."""
    train_batch_size_per_learner: int = Field(default=256, ge=1)
    """Transitions in a minibatch."""
    gamma: float = Field(default=0.97, ge=0, le=1)
    """Discount per step."""
    tau: float = Field(default=0.005, gt=0, le=1)
    """Share of the new weights in each update of the target network."""
    actor_lr: LearningRate = 1e-3
    """Learning rate of the actor, or RLlib's schedule of it."""
    critic_lr: LearningRate = 3e-4
    """Learning rate of the critics and the encoder, or RLlib's schedule of it."""
    alpha_lr: LearningRate = 3e-3
    """Learning rate of the temperature, or RLlib's schedule of it."""
    initial_alpha: float = Field(default=0.001, gt=0)
    """Temperature at the start."""
    target_entropy: float | Literal["auto"] = "auto"
    """Entropy that the temperature steers to [nats]; ``"auto"`` is minus half the action's
    dimension."""
    grad_clip: float | None = Field(default=40.0, gt=0)
    """Bound of the gradients' norm; null does without."""
    hidden_sizes: tuple[Layer, ...] = Field(default=(256, 256), min_length=1, strict=False)
    """Widths of the hidden layers of actor and critics."""
    encoder_size: int = Field(default=256, ge=1)
    """Width of the latent of each observation entry."""
    online_capacity: int = Field(default=30_000, ge=1)
    """Transitions that the online buffer holds."""
    demonstration_capacity: int = Field(default=10_000, ge=1)
    """Transitions that the demonstration buffer holds."""
    learning_starts: int = Field(default=5, ge=1)
    """Online transitions before the first update."""
    steps_per_iteration: int = Field(default=100, ge=1)
    """Steps of the environment in an iteration, which is a row of progress.csv."""
    checkpoint_buffers: bool = True
    """Whether checkpoints hold both buffers; else a resumed run fills them from its episodes."""
    torch_threads: int = Field(default=1, ge=1)
    """Threads of torch in each process; networks as small as these are fastest on one."""

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        subset, critics = self.num_subsampled_critics, self.num_critics
        if subset is not None and subset > critics:
            raise ValueError(
                f"num_subsampled_critics={subset} must be within 1..num_critics ({critics})"
            )
        lowest, highest = self.lowest_return, self.highest_return
        if isinstance(lowest, float) and isinstance(highest, float) and lowest >= highest:
            raise ValueError(
                f"lowest_return={lowest!r} must be below highest_return={highest!r}: no return "
                "would lie between them"
            )
        return self


class Resources(Section):
    """The machine."""

    num_env_runners: int = Field(default=0, ge=0)
    """Processes that step environments beside the learner; 0 steps it in the learner's own."""
    num_learners: int = Field(default=0, ge=0)
    """Processes that learn; 0 learns in the command's own."""
    num_gpus_per_learner: float = Field(default=0, ge=0)
    """GPUs that each learner takes."""


class Checkpoint(Section):
    """When checkpoints are written, and how many stay."""

    every_steps: int = Field(default=1000, gt=0)
    """Steps of the environment between two checkpoints; there is one at the end anyway."""
    every_minutes: float | None = Field(default=None, gt=0)
    """Time between two checkpoints, if steps came in it; null: 5 with robots, never without."""
    keep: int = Field(default=2, gt=0)
    """Newest checkpoints that stay on disk."""


class Evaluation(Section):
    """Episodes without exploration and without a human."""

    episodes: int = Field(default=50, gt=0)
    """Episodes of an evaluation, each with a seed of its own."""
    every_steps: int | None = Field(default=None, gt=0)
    """Steps of the environment between two evaluations; null evaluates at the end only."""
    seed: int = Field(default=100_000, ge=0)
    """Seed of the first episode; the next ones count up."""


class External(Section):
    """Robots in processes of their own: how they and the learner find each other."""

    host: str = "127.0.0.1"
    """Address at which the learner listens; any but this machine's own needs a token_file."""
    port: int = Field(default=5656, ge=1, le=65_535)
    """Where it listens; of several robots each has the next port."""
    learner: str | None = None
    """Name or address of the learner's machine, as the robot sees it; null takes `host`."""
    token_file: str | None = None
    """File with the secret that both sides know."""
    certificate: str | None = None
    """PEM file of the learner's certificate, on both machines; null: nothing is encrypted."""
    private_key: str | None = None
    """PEM file of its key, on the learner's machine only."""
    lowest_update_ratio: float = Field(default=0.25, ge=0)
    """Minibatches per step that are done before the learner takes more steps in."""
    highest_update_ratio: float = Field(default=4.0, gt=0)
    """Minibatches per step after which the learner waits for more steps."""
    policy_interval: float = Field(default=0.5, ge=0, le=3600)
    """Between two policies for the robots, at least [s]; more where the network is slow."""
    chunk_steps: int = Field(default=10, gt=0, le=500)
    """Steps that a robot sends at once."""
    spool: str | None = None
    """Folder on the robot's disk for what the learner does not have yet; null: below spool/."""
    spool_mib: float = Field(default=4096.0, gt=0)
    """How much may wait there before the robot pauses [MiB]."""
    hold_after: float = Field(default=10.0, gt=0)
    """The robot stands still after the learner has been silent for so long [s]."""

    @model_validator(mode="after")
    def _ordered(self) -> External:
        if self.lowest_update_ratio > self.highest_update_ratio:
            raise ValueError(
                f"lowest_update_ratio ({self.lowest_update_ratio}) cannot exceed "
                f"highest_update_ratio ({self.highest_update_ratio})"
            )
        return self


ALGORITHM_SECTIONS: Mapping[str, type[Section]] = MappingProxyType(
    {
        "entropy_selection": SelectionSettings,
        "human_in_the_loop": HumanInTheLoop,
        "imitation": Imitation,
        "vision": VisionSettings,
        "training": Training,
    }
)
"""Sections that the algorithm's configuration takes, by the method of ``E2HiLConfig``."""
