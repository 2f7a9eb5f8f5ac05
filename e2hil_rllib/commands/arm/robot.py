"""`e2hil robot`: beside the arm, acts with the learner's policy and sends it every step."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console

from e2hil_rllib.commands.arm.arm_session import announce, arm_session, is_physical
from e2hil_rllib.commands.arm.robot_display import RobotDisplay
from e2hil_rllib.external.protocol.secure import check_exposure, client_context, read_token
from e2hil_rllib.external.robot.delivery import Delivery, Destination
from e2hil_rllib.external.robot.recorder import Recorder
from e2hil_rllib.external.robot.robot_loop import RobotLoop, Tally
from e2hil_rllib.external.robot.spool import Spool
from e2hil_rllib.settings.build import policy_config
from e2hil_rllib.settings.environments import control_rate
from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.sections import External
from e2hil_rllib.settings.yaml_file import SettingsError
from envs.operators.episode_keys import OperatorStopError

_DELIVERY_PATIENCE = 20.0  # for what is still in the spool at the end [s]


def run_robot(
    settings: Settings,
    name: str,
    console: Console,
    runner: int = 0,
    episodes: int | None = None,
) -> Tally:
    """Runs the robot until the person there, the learner or a signal ends it.

    Args:
        settings: The same as the learner's.
        name: Of the settings file, for the spool's folder.
        console: Where the person looks.
        runner: Which of several robots this is, from 0.
        episodes: Stop after so many; None goes on.

    Returns:
        What was done.

    Raises:
        UserError: The arm, the spool or the learner cannot be used.
    """
    external = settings.robots
    if external is None:
        raise SettingsError(
            f"{settings.task} is trained in the learner's own process. Add 'external: {{}}' to "
            "the settings to run it in one of its own."
        )
    destination = _destination(external, runner)
    from e2hil_rllib.external.robot.policy import LocalPolicy

    folder = Path(external.spool or f"spool/{name}") / f"robot_{runner}"
    with contextlib.ExitStack() as outer:
        spool = outer.enter_context(Spool(folder, int(external.spool_mib * 2**20)))
        seed = _seed(settings.seed, spool)
        with arm_session(settings, console, judged=True) as env:
            policy = LocalPolicy(
                policy_config(settings), env.observation_space, env.action_space, seed
            )
            delivery = Delivery(spool, destination, policy.check)
            outer.callback(delivery.close)
            recorder = Recorder(spool, control_rate(env), settings.task, external.chunk_steps)
            stopped = False
            try:
                tally, stopped = _run(
                    env, policy, recorder, delivery, external, seed, console, episodes
                )
            finally:
                if not recorder.close():
                    reason = recorder.failure or recorder.fault
                    announce(console, f"not everything could be saved: {reason}")
                delivery.report(paused=True, stopped=stopped)
        _deliver_the_rest(delivery, folder, console)
    _sum_up(tally, console)
    return tally


def _run(
    env: gymnasium.Env[Any, Any],
    policy: Any,
    recorder: Recorder,
    delivery: Delivery,
    external: External,
    seed: int,
    console: Console,
    episodes: int | None,
) -> tuple[Tally, bool]:
    """Runs the loop; says whether the person has ended the session."""
    with RobotDisplay(env, delivery, policy, console) as display:
        loop = RobotLoop(
            env,
            policy,
            recorder,
            delivery,
            hold_after=external.hold_after,
            period=0.0 if is_physical(env) else 1.0 / control_rate(env),
            announce=lambda line: announce(console, line),
            show=display.show,
        )
        display.tally = loop.tally
        try:
            loop.run(seed, episodes)
        except (OperatorStopError, KeyboardInterrupt):
            return loop.tally, True
        announce(console, "training has ended" if episodes is None else f"{episodes} episodes done")
        return loop.tally, False


def _destination(external: External, runner: int) -> Destination:
    """Where the learner is, and what it takes to be let in.

    Raises:
        UserError: The token or the certificate cannot be used.
    """
    host = external.learner or external.host
    if external.learner is None and host in ("0.0.0.0", "::"):
        raise SettingsError(
            f"external.host is {host}, where the learner listens. Name its machine, as the robot "
            "sees it, in external.learner."
        )
    token = None if external.token_file is None else read_token(Path(external.token_file))
    check_exposure(host, token)
    tls = None if external.certificate is None else client_context(Path(external.certificate))
    return Destination(host, external.port + runner, token or "", tls)


def _seed(seed: int, spool: Spool) -> int:
    """Another one for each session of each robot, so that starts and noise do not repeat."""
    text = f"{seed}/{spool.stream}/{spool.following}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) >> 1


def _deliver_the_rest(delivery: Delivery, folder: Path, console: Console) -> None:
    if delivery.status.waiting:
        announce(console, "sending the rest to the learner")
    if not delivery.flush(_DELIVERY_PATIENCE):
        announce(
            console,
            f"{delivery.status.waiting} chunks wait in {folder} and are safe: the next "
            "'e2hil robot' sends them.",
        )


def _sum_up(tally: Tally, console: Console) -> None:
    for line in _lines(tally):
        announce(console, line)


def _lines(tally: Tally) -> Iterator[str]:
    share = 100 * tally.human_steps / max(1, tally.steps)
    yield (
        f"{tally.episodes} episodes, {tally.steps} steps, {tally.human_steps} of them "
        f"({share:.0f} %) led by a person; stood still {tally.holds} times for want of a learner"
    )
    ages = [age for age in tally.policy_ages if math.isfinite(age)]
    if ages:
        median, high = np.percentile(ages, [50, 99])
        yield f"policy: {median:.2f} s old (p50), {high:.2f} s (p99)"
