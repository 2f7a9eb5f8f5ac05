"""The sections of a settings file, each with what its keys mean.

`EntropySelection`, `HumanInTheLoop`, `Vision` and `Training` are keyword arguments of the methods
of `E2HiLConfig` that bear the same names. A key that is left out there is not passed, so that the
algorithm's own default holds; the algorithm checks the values, this module the names and the types.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from e2hil_rllib.classifier.judge import Judge


class Section(BaseModel):
    """A part of the settings: frozen, and an unknown key is refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class Stop(Section):
    """When training ends."""

    steps: int = Field(gt=0)
    """Steps of the environment, over all of the run."""
    autonomous_success_rate: float | None = Field(default=None, gt=0, le=1)
    """End earlier, once this share of the last 100 episodes succeeded without a human step, and
    there were as many."""
    lasting_success: float | None = Field(default=None, gt=0, le=1)
    """End earlier, once three evaluations in a row reached this success; they take place every
    `evaluation.every_steps`."""


class Demonstrations(Section):
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


class EntropySelection(Section):
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


class HumanInTheLoop(Section):
    """What the algorithm takes from people."""

    interventions: bool | None = None
    """Whether somebody may take over while the policy acts."""
    skip_damaged_demonstrations: bool | None = None
    """Leave damaged demonstration files out with a warning, instead of stopping."""
    demonstration_fraction: float | None = None
    """Share of every batch that comes from the demonstration buffer."""


class Imitation(Section):
    """How the actor imitates what people did."""

    weight: float | None = None
    """Weight of the imitation loss beside the actor's; 0 is without."""
    rows: Literal["all", "selected"] | None = None
    """Imitate all steps of people, or those that the entropy selection keeps."""
    dropout: float | None = None
    """Share of the actor's hidden activations that is dropped where it imitates."""
    q_filter_starts: int | None = None
    """Actor updates after which people's actions are imitated only where the critics find them
    better than the policy's; null imitates all to the end."""
    warm_start_updates: int | None = None
    """Minibatches of demonstrations that are learned before the first step; 0 is without."""
    reinforcement: bool | None = None
    """Whether the actor learns from the critics; false imitates alone (HG-DAgger)."""


class Vision(Section):
    """How camera frames are encoded."""

    encoder: Literal["cnn", "frozen"] | None = None
    """Train a small CNN ("cnn"), or a head on a frozen trunk's features ("frozen")."""
    trunk: Literal["resnet10t", "efficientnet_lite0"] | None = None
    """The frozen trunk's network; "efficientnet_lite0" takes less time than "resnet10t"."""
    stride: Literal[8, 16, 32] | None = None
    """Where the frozen trunk is cut: side of a frame over that of its features; 32: not at all."""
    trunk_weights: str | None = None
    """Of the frozen trunk: "seed:N", "package" (of efficientnet_lite0), a .safetensors file, or a
    hub id (of resnet10t)."""
    head: Literal["spatial", "keypoints"] | None = None
    """Trained above the features: sums over their maps, or the places where most is seen."""
    random_shift: int | None = None
    """Largest random shift of the CNN's frames in training [pixels]; 0 is without."""
    feature_shift: int | None = None
    """Largest random shift of the frozen trunk's features in training [cells]; 0 is without."""


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


class Training(Section):
    """The learner."""

    utd_ratio: int | None = None
    """Minibatches per step of the environment."""
    num_critics: int | None = None
    """Critics in the ensemble."""
    num_subsampled_critics: int | None = None
    """Critics drawn at random for each target (RLPD); null takes all of them."""
    backup_entropy: bool | None = None
    """Whether the target of the critics contains the entropy term."""
    n_step: int | None = None
    """Steps of rewards in the critics' target before it bootstraps."""
    monte_carlo_floor: bool | None = None
    """Whether the target of steps from which a person reached success is at least their return."""
    lowest_return: float | Literal["auto"] | None = None
    """The least that an episode can return, which bounds the critics' target; null is without a
    bound, "auto" takes what the environment says (0 where success is the only reward)."""
    highest_return: float | Literal["auto"] | None = None
    """The most that an episode can return; null and "auto" as above (1 where success is the only
    reward)."""
    exploration_noise: float | None = None
    """Factor on the noise that the policy explores with."""
    averaged_policy: bool | None = None
    """Whether the policy that acts is an average of the learned ones, which follows them with tau
    as the target network does."""
    fine_scales: list[float] | None = None
    """Factors k at which the vectors of an observation are seen as tanh(k x) beside x, which is
    scaled to the unit box; [] does without."""
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
    """Whether checkpoints hold both buffers; else a resumed run fills them from its episodes."""
    torch_threads: int | None = None
    """Threads of each process; networks as small as these are fastest on one."""


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
