"""The configuration of E2HiL: RLlib's SAC settings, and what E2HiL adds to them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from e2hil_rllib.classifier.judge import Judge
from e2hil_rllib.config_checks import check_together
from e2hil_rllib.external.learner.connector import Connector
from e2hil_rllib.method.selection import SelectionSettings
from e2hil_rllib.networks.vision_settings import VisionSettings, absolute_source
from e2hil_rllib.section import Section, did_you_mean
from e2hil_rllib.settings.inherited_settings import refuse_unknown_settings, refuse_unused_settings
from e2hil_rllib.settings.presets import preset_settings
from e2hil_rllib.settings.sections import (
    ALGORITHM_SECTIONS,
    HumanInTheLoop,
    Imitation,
    Training,
)

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner import Learner
    from ray.rllib.env.env_runner import EnvRunner


P = ParamSpec("P")

#: Arguments that are a folder; kept absolute, because Tune's processes run elsewhere.
_FOLDERS = ("demonstrations", "episode_log", "selection_log")


class EntropySelectionArguments(SelectionSettings):
    """Arguments of ``E2HiLConfig.entropy_selection``."""

    selection_log: str | Path | None = None
    """Folder to which iterations write the influence of the samples in their last diagnosed
    minibatch, or None."""


class HumanInTheLoopArguments(HumanInTheLoop):
    """Arguments of ``E2HiLConfig.human_in_the_loop``."""

    demonstrations: str | Path | None = None
    """Folder of recorded episodes, or None."""
    episode_log: str | Path | None = None
    """Folder to which every finished training episode is written, or None."""


def section_method(
    name: str, arguments: Callable[P, Section], summary: str
) -> Callable[Concatenate[E2HiLConfig, P], E2HiLConfig]:
    """Make the method of ``E2HiLConfig`` that takes the settings of a section.

    Its signature and its documentation are those of the section's fields, for editors as well as
    for ``help()``.

    Args:
        name: Name of the method.
        arguments: Class of the section.
        summary: First line of the method's documentation.
    """
    section = cast(type[Section], arguments)

    def method(self: E2HiLConfig, *args: P.args, **given: P.kwargs) -> E2HiLConfig:
        self._take(name, section, given)
        return self

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    lines = [summary, "", "What is not given stays as it is.", "", "Args:"]
    for key, field in section.model_fields.items():
        parameters.append(
            inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, default=field.default,
                annotation=field.annotation,
            )
        )  # fmt: skip
        lines.append(f"    {key}: {' '.join((field.description or '').split())}")
    lines += ["", "Returns:", "    This configuration."]
    method.__name__, method.__qualname__ = name, f"E2HiLConfig.{name}"
    method.__doc__ = "\n".join(lines)
    method.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return method


def _as_kept(name: str, value: Any) -> Any:
    """The value as the configuration keeps it."""
    if name in _FOLDERS and value is not None:
        return str(Path(value).expanduser().resolve())
    if name == "trunk_weights" and isinstance(value, str):
        return absolute_source(value)
    if name in ("hidden_sizes", "fine_scales"):
        return tuple(value)
    return value


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
        # Folders, which a settings file does not name.
        self.demonstrations: str | None = None
        self.episode_log: str | None = None
        self.selection_log: str | None = None
        # .success_classifier() and .external()
        self.judge: Judge | None = None
        self.connector: Connector | None = None
        # Settings of the sections; the defaults are those of the preset "default".
        for section in ALGORITHM_SECTIONS.values():
            for name, field in section.model_fields.items():
                setattr(self, section.attribute(name), field.default)
        # Settings of RLlib whose defaults differ here.
        self.num_env_runners = 0
        self.min_time_s_per_iteration = None
        self.min_sample_timesteps_per_iteration = 0
        self.restart_failed_env_runners = False

    def preset(self, name: str) -> E2HiLConfig:
        """Take the settings of a named method; what is set afterwards counts.

        Args:
            name: ``"default"``, ``"hil_serl"`` or ``"e2hil_paper"``.

        Returns:
            This configuration.

        Raises:
            ValueError: There is no such preset; the message names the nearest.
        """
        for attribute, value in preset_settings(name).items():
            setattr(self, attribute, value)
        return self

    entropy_selection = section_method(
        "entropy_selection",
        EntropySelectionArguments,
        "Choose which samples the actor learns from.",
    )
    human_in_the_loop = section_method(
        "human_in_the_loop", HumanInTheLoopArguments, "Say where human data comes from."
    )
    imitation = section_method("imitation", Imitation, "Say how the actor imitates people.")
    vision = section_method("vision", VisionSettings, "Say how camera frames are encoded.")
    training = section_method("training", Training, "Set what the learner does.")

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

    def _take(self, method: str, section: type[Section], given: Mapping[str, Any]) -> None:
        """Set what was given to the method of a section.

        Raises:
            TypeError: It has no such argument.
        """
        others = {name: value for name, value in given.items() if name not in section.model_fields}
        if method == "training":
            super().training(**others)  # RLlib's own, see `inherited_settings`
        elif others:
            name = next(iter(others))
            hint = did_you_mean(name, section.model_fields)
            raise TypeError(f"{method}() has no argument {name!r}{hint}")
        for name, value in given.items():
            if name not in others and value is not NotProvided:
                setattr(self, section.attribute(name), _as_kept(name, value))

    def section(self, method: str) -> Section:
        """Settings of one of ``ALGORITHM_SECTIONS``, checked.

        Raises:
            ValueError: A value is out of its range, or two exclude each other.
        """
        section = ALGORITHM_SECTIONS[method]
        values = {name: getattr(self, section.attribute(name)) for name in section.model_fields}
        return section.checked(method, values)

    @property
    def selection(self) -> SelectionSettings:
        """Settings of the selection, checked."""
        return cast(SelectionSettings, self.section("entropy_selection"))

    @property
    def vision_settings(self) -> VisionSettings:
        """Settings of the camera encoders, checked."""
        return cast(VisionSettings, self.section("vision"))

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
        for method in ALGORITHM_SECTIONS:
            self.section(method)
        check_together(self)

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
