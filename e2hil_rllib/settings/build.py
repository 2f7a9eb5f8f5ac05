"""From settings to an algorithm: the one place where the two meet."""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from e2hil_rllib.data.episodes import episode_files
from e2hil_rllib.run.checkpoints import CheckpointError
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.environments import fault_in_words, make_environment
from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.yaml_file import SettingsError

if TYPE_CHECKING:
    from e2hil_rllib.algorithm import E2HiL
    from e2hil_rllib.config import E2HiLConfig


_NO_ENVIRONMENT = (TypeError, ValueError, RuntimeError, ImportError, gymnasium.error.Error)
# What torch, numpy, pickle and RLlib raise on a checkpoint that is damaged or does not fit.
_UNLOADABLE = (
    AttributeError, KeyError, TypeError, ValueError, OSError, EOFError,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip


def demonstration_folder(settings: Settings, run: RunFolder) -> Path | None:
    """Where the demonstrations of a run are: recorded in it, or given, or nowhere.

    Raises:
        SettingsError: A folder is given that holds no episodes.
    """
    given = settings.demonstrations
    if given is None:
        return None
    if given.path is None:
        return run.demonstrations.resolve()
    folder = Path(given.path).expanduser().resolve()
    if not folder.is_dir() or not episode_files(folder):
        raise SettingsError(
            f"demonstrations.path is {given.path}: there are no episode files in {folder}. "
            "Record some with 'e2hil record CONFIG --out DIR', or set demonstrations.record."
        )
    return folder


def algorithm_config(settings: Settings, run: RunFolder) -> E2HiLConfig:
    """The algorithm's configuration, checked.

    Raises:
        SettingsError: A value is out of its range, or two values exclude each other.
    """
    quiet_ray()
    from e2hil_rllib.config import E2HiLConfig

    resources = settings.resources
    try:
        config = _with_environment(E2HiLConfig().preset(settings.preset), settings, run)
        config.entropy_selection(
            **settings.arguments("entropy_selection"), selection_log=run.selection
        )
        config.human_in_the_loop(
            **settings.arguments("human_in_the_loop"),
            demonstrations=demonstration_folder(settings, run),
            episode_log=run.episodes.resolve(),
        )
        config.imitation(**settings.arguments("imitation"))
        config.vision(**settings.arguments("vision"))
        config.judge = settings.judge()
        config.training(**settings.arguments("training"))
        if settings.robots is not None:
            config.training(**_robot_bounds(settings, config))
        _check_warm_start(settings, config)
        config.env_runners(num_env_runners=resources.num_env_runners)
        config.learners(
            num_learners=resources.num_learners,
            num_gpus_per_learner=resources.num_gpus_per_learner,
        )
        config.evaluation(evaluation_config={"env_config": dict(settings.evaluation_env)})
        config.debugging(seed=settings.seed, log_level="ERROR")
        config.validate()
    except (TypeError, ValueError) as error:
        raise SettingsError(f"The settings cannot be used: {error}") from error
    return config


def _check_warm_start(settings: Settings, config: E2HiLConfig) -> None:
    """A warm start that was asked for needs demonstrations; that of a preset does without."""
    asked = settings.arguments("imitation").get("warm_start_updates")
    if asked and settings.demonstrations is None:
        raise SettingsError(
            f"imitation.warm_start_updates is {asked}, but there are no demonstrations to start "
            "from. Set demonstrations.record or demonstrations.path, or warm_start_updates to 0."
        )


def _with_environment(config: E2HiLConfig, settings: Settings, run: RunFolder) -> E2HiLConfig:
    """Says what is learned from: an environment in the learner's process, or robots."""
    external = settings.robots
    if external is None:
        config.environment(settings.task, env_config=dict(settings.env))
        return config
    observed, taken = robot_spaces(settings)
    config.environment(observation_space=observed, action_space=taken)
    names = (
        "host", "port", "token_file", "certificate", "private_key", "lowest_update_ratio",
        "highest_update_ratio", "policy_interval",
    )  # fmt: skip
    config.external(inbox=run.inbox, **{name: getattr(external, name) for name in names})
    return config


def robot_spaces(settings: Settings) -> tuple[Any, Any]:
    """The observation and action space of a robot's environment; no arm is connected.

    Raises:
        SettingsError: The environment cannot be made with these settings.
    """
    if not settings.physical:
        return _spaces(settings, dict(settings.env), "env")
    from envs.hardware.robot_spaces import physical_spaces

    try:
        return physical_spaces(settings.env)
    except _NO_ENVIRONMENT as error:
        fault = fault_in_words(error).rstrip(".")
        raise SettingsError(
            f"The environment {settings.task} cannot be made with the settings in 'env': {fault}."
        ) from error


def _robot_bounds(settings: Settings, config: E2HiLConfig) -> dict[str, Any]:
    """The bounds of returns, which the learner has no environment to ask for."""
    bounds: tuple[float | None, float | None]
    if settings.physical:
        from envs.so101 import RETURN_BOUNDS

        bounds = RETURN_BOUNDS
    else:
        env = make_environment(settings.task, dict(settings.env), settings.judge())
        bounds = getattr(env.unwrapped, "return_bounds", None) or (None, None)
        env.close()
    lowest, highest = config.return_bounds(bounds)
    return {"lowest_return": lowest, "highest_return": highest}


def policy_config(settings: Settings) -> E2HiLConfig:
    """The part of the configuration that a robot's policy is built from.

    Raises:
        SettingsError: A value is out of its range.
    """
    quiet_ray()
    from e2hil_rllib.config import E2HiLConfig

    try:
        config = E2HiLConfig().preset(settings.preset).vision(**settings.arguments("vision"))
        config.training(**settings.arguments("training")).debugging(seed=settings.seed)
        _ = config.vision_settings
    except (TypeError, ValueError) as error:
        raise SettingsError(f"The settings cannot be used: {error}") from error
    return config


def check_settings(settings: Settings, run: RunFolder, here: bool = True) -> None:
    """Finds what cannot be trained or evaluated before anything is written or started.

    Args:
        settings: Of the run.
        run: Where it is to be.
        here: It trains on this machine, whose GPUs then have to do.

    Raises:
        SettingsError: The algorithm's configuration or one of the two environments cannot be
            made, or the two do not look alike to the policy.
    """
    if settings.robots is not None:
        _refuse_recording(settings)
    config = algorithm_config(settings, run)
    if here:
        _check_gpus(settings)
    if settings.robots is not None:
        return
    observed, taken = _spaces(settings, config.env_config, "env")
    evaluation = config.get_evaluation_config_object()
    if evaluation is None:
        return
    for name, trained, evaluated in zip(
        ("observations", "actions"),
        (observed, taken),
        _spaces(settings, evaluation.env_config, "evaluation_env"),
        strict=True,
    ):
        if trained != evaluated:
            raise SettingsError(
                f"evaluation_env: the {name} of the environment would be {evaluated} in evaluation "
                f"and {trained} in training. They have to be the same."
            )


def _refuse_recording(settings: Settings) -> None:
    """A learner's machine has no arm to demonstrate with."""
    if settings.demonstrations is not None and settings.demonstrations.record is not None:
        raise SettingsError(
            "demonstrations.record is set, but the robot is in a process of its own. Record with "
            "'e2hil record CONFIG --episodes N --out DIR' beside the robot, and set "
            "demonstrations.path to that folder."
        )


def _check_gpus(settings: Settings) -> None:
    """Ray would wait for ever for GPUs that are not there."""
    import torch

    resources = settings.resources
    wanted = resources.num_gpus_per_learner * max(1, resources.num_learners)
    if wanted > torch.cuda.device_count():
        raise SettingsError(
            f"resources: {max(1, resources.num_learners)} learner(s) with num_gpus_per_learner="
            f"{resources.num_gpus_per_learner:g} need {wanted:g} GPUs, PyTorch finds "
            f"{torch.cuda.device_count()} here. Set resources.num_gpus_per_learner to 0."
        )


def _spaces(settings: Settings, options: dict[str, Any], section: str) -> tuple[Any, Any]:
    try:
        env = make_environment(settings.task, options, settings.judge())
    except _NO_ENVIRONMENT as error:
        fault = fault_in_words(error).rstrip(".")
        raise SettingsError(
            f"The environment {settings.task} cannot be made with the settings in '{section}': "
            f"{fault}."
        ) from error
    env.close()
    return env.observation_space, env.action_space


def build(settings: Settings, run: RunFolder, checkpoint: Path | None = None) -> E2HiL:
    """A new algorithm.

    Args:
        settings: Of the run.
        run: Where the run is.
        checkpoint: The checkpoint that will be loaded, which holds a frozen trunk's weights.

    Raises:
        SettingsError: The settings or the environment do not fit.
        DamagedEpisodeError: A demonstration cannot be read.
    """
    config = algorithm_config(settings, run)
    from e2hil_rllib.networks.frozen_trunk import saved_trunk

    if checkpoint and (trunk := saved_trunk(checkpoint)):
        config.vision(trunk_weights=str(trunk))
    try:
        algorithm: E2HiL = config.build_algo()
    except (TypeError, ValueError) as error:
        raise SettingsError(f"The algorithm cannot be built: {error}") from error
    return algorithm


def resume_from(checkpoint: Path, settings: Settings, run: RunFolder) -> E2HiL:
    """The algorithm of a run, set back to a checkpoint; the run folder may have been moved.

    Raises:
        CheckpointError: The checkpoint does not fit the settings or the environment.
    """
    algorithm = build(settings, run, checkpoint)
    try:
        algorithm.restore_from_path(checkpoint)
    except _UNLOADABLE as error:
        algorithm.stop()
        raise _unloadable(checkpoint, error) from error
    return algorithm


def restore(checkpoint: Path) -> E2HiL:
    """The algorithm of a checkpoint alone, with the configuration that is in it.

    Raises:
        CheckpointError: The checkpoint does not fit the program or the environment.
    """
    quiet_ray()
    from e2hil_rllib.algorithm import E2HiL

    try:
        algorithm: E2HiL = E2HiL.from_checkpoint(str(checkpoint.resolve()))
    except _UNLOADABLE as error:
        raise _unloadable(checkpoint, error) from error
    return algorithm


def _unloadable(checkpoint: Path, error: Exception) -> CheckpointError:
    cause = str(error).rstrip(".") or type(error).__name__
    return CheckpointError(
        f"The checkpoint {checkpoint} cannot be loaded: {cause}. If the settings are those it was "
        "saved with, it is damaged: move it away, and the one before it is used."
    )


def quiet_ray() -> None:
    """Keeps Ray's notes to its own developers out of the user's terminal."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # It sets the levels of its loggers when it is imported, so that ours have to come after.
    importlib.import_module("ray.rllib")
    for name in ("ray", "ray.rllib", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def ray_session(settings: Settings) -> Iterator[None]:
    """Ray for the length of a command, with enough logical CPUs for all of its processes.

    RLlib starts Ray by itself otherwise, also where everything runs in the command's own process.
    """
    quiet_ray()
    import ray

    resources = settings.resources
    needed = 1 + resources.num_env_runners + max(1, resources.num_learners)
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(
            address="local",  # never a cluster that RAY_ADDRESS or `ray start` names
            num_cpus=max(needed, os.cpu_count() or 1),
            include_dashboard=False,
            log_to_driver=False,  # errors of other processes come as exceptions
            logging_level=logging.ERROR,
        )
    try:
        yield
    finally:
        if started_here:
            ray.shutdown()
