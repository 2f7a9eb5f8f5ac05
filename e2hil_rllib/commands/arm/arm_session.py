"""An environment of an arm for as long as a command needs it, let go of on every way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
from rich.console import Console

from e2hil_rllib.errors import UserError
from e2hil_rllib.settings.environments import fault_in_words, make_environment
from e2hil_rllib.settings.run_settings import Settings
from envs.frames import CameraError
from envs.hardware.errors import BusError
from envs.hardware.letting_go.letting_go import SafeShutdown
from envs.hardware.letting_go.supervisor_client import SupervisorLostError
from envs.hardware.setup.arm_setup import ArmSetupError
from envs.interfaces import HardwareError
from envs.operators.keys import help_line

_TROUBLE = (BusError, CameraError, HardwareError, ArmSetupError, SupervisorLostError)
_UNMADE = (TypeError, ValueError, gymnasium.error.Error, ModuleNotFoundError)


class ArmSessionError(UserError):
    """An arm cannot be used, or not any more; the message says why and what to do."""


@contextmanager
def arm_session(
    settings: Settings,
    console: Console,
    judged: bool = False,
    made_with: str = "the settings in 'env'",
    advice: str = "",
    **changes: Any,
) -> Iterator[gymnasium.Env[Any, Any]]:
    """Makes the environment of a settings file, and closes it whatever happens.

    A physical arm is let go of as its settings say also at Ctrl-C, SIGTERM and the end of the
    terminal. What the person at it should do is printed.

    Args:
        settings: name the environment (`task`) and its options (`env`).
        console: where to print.
        judged: whether the settings' success classifier judges, if there is one.
        made_with: what the environment is made with, for the error where it cannot be made.
        advice: what else to do then.
        **changes: options of the environment that differ.

    Raises:
        ArmSessionError: the environment cannot be made, or the arm or a camera fails.
    """
    try:
        judge = settings.judge() if judged else None
        env = make_environment(settings.task, {**settings.env, **changes}, judge)
    except _TROUBLE as error:
        raise ArmSessionError(f"The arm cannot be used: {error}") from error
    except _UNMADE as error:
        raise ArmSessionError(
            f"The environment {settings.task} cannot be made with {made_with}: "
            f"{fault_in_words(error).rstrip('.?')}. {advice}".rstrip()
        ) from error
    try:
        with SafeShutdown(env):
            if is_physical(env):
                announce(console, help_line())
                env.set_wrapper_attr("announce", lambda line: announce(console, line))
            try:
                yield env
            finally:
                if is_physical(env):
                    announce(console, "letting go of the arm, which takes some seconds")
    except _TROUBLE as error:
        raise ArmSessionError(f"The arm had to be let go of: {error}") from error


def is_physical(env: gymnasium.Env[Any, Any]) -> bool:
    """Says whether a person stands at the arm of an environment, a virtual arm included."""
    return env.has_wrapper_attr("led_by_a_person")


def announce(console: Console, line: str) -> None:
    """Prints what the person at the arm should know or do."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
