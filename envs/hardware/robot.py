"""Registered environment of a physical SO101: arms and cameras from keyword arguments."""

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from envs.cropped_cameras import CroppedCameras
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.cameras.camera_settings import CameraSettings, camera_options
from envs.hardware.cameras.physical_cameras import OpenCVCameras
from envs.hardware.feetech_arm import FeetechArm
from envs.hardware.hardware_steps import HardwareSteps
from envs.hardware.leader.leader_arm import LeaderArm
from envs.hardware.letting_go.supervisor_client import Supervision
from envs.hardware.robot_options import (
    FollowerOptions,
    LeaderOptions,
    follower_options,
    leader_options,
)
from envs.kinematics import HOME
from envs.operators.episode_keys import EpisodeKeys
from envs.operators.intervention import InterventionWrapper
from envs.operators.keys import Keys
from envs.operators.leader import LeaderOperator
from envs.operators.pedal import Pedal
from envs.operators.person import MODES
from envs.operators.pressed import KeySource, Pressed
from envs.operators.several_keys import SeveralKeys
from envs.options import mapping, number, one_of, refuse_unknown
from envs.safety_limits import SafetyLimits
from envs.so101 import SO101Env
from envs.tasks.real_table import RealTable
from envs.workspace import Workspace


def make_physical(
    *,
    follower: Any,
    leader: Any = None,
    cameras: Any = None,
    control_hz: float = 10.0,
    step_size: float = 0.02,
    workspace: Any = None,
    safety: Any = None,
    start: Sequence[float] = tuple(HOME),
    start_noise: float = 0.05,
    reward: str = "external",
    operator: Any = (),
    wait: bool = True,
    keys: KeySource | None = None,
    pedal: Any = None,
    **unknown: Any,
) -> gymnasium.Env:
    """Make a physical SO101, or a virtual one; ``gymnasium.make`` calls it.

    Nothing moves before the first reset. ``close`` releases the arms; a program must call it
    however it ends (``envs.hardware.letting_go.letting_go.SafeShutdown``).

    Args:
        follower: Options of the arm that works, see ``follower_options``.
        leader: Options of the arm that a hand moves, see ``leader_options``; None for none.
        cameras: Options by camera: those of ``CameraSettings`` (``source`` is required) and of
            ``CameraView`` (``crop``, ``size``); None for no cameras.
        control_hz: Control steps per second [Hz].
        step_size: Largest step of the TCP along each axis [m].
        workspace: Box for the TCP, ``{"x": [low, high], "y": …, "z": …}`` [m].
        safety: Limits of commands, see ``SafetyLimits``.
        start: Start of the arm, six joint angles [rad].
        start_noise: Largest random deviation of each joint from the start [rad].
        reward: Source of the reward; "external" is the person's keys or a success classifier.
        operator: ``{"mode": "intervene"}`` (the default: the person takes over at times) or
            ``{"mode": "demonstrate"}`` (the person leads each episode from its first step); None
            where nobody takes over, as in evaluation: the leader is not used then.
        wait: Whether to wait for the person before each episode.
        keys: Source of keys; None for the terminal.
        pedal: Terminal device that sends the same characters, e.g. /dev/ttyACM2 of a pedal or a
            box with buttons; None for none.
        **unknown: Unknown options, which are refused.

    Raises:
        TypeError: If an option is unknown (the nearest valid names are given) or missing.
        ValueError: If the value of an option is not valid; a calibration that cannot be read, too.
        RuntimeError: If an arm or a camera is unreachable or must not be used as it is.
    """
    refuse_unknown(unknown, _OPTIONS, "the physical environment")
    one_of("reward", reward, ("external",))
    rate = number("control_hz", control_hz, 1.0, 50.0)
    box = Workspace() if workspace is None else Workspace.from_options(workspace)
    limits = SafetyLimits.from_options(safety, box)
    mode = _mode(operator)
    worker = follower_options(follower, rate)
    hand = None if leader is None or mode is None else leader_options(leader)
    if mode == "demonstrate" and hand is None:
        raise ValueError("operator.mode is demonstrate, but there is no leader: name its port")
    settings, views = camera_options(cameras)
    task = RealTable(start, start_noise)
    with contextlib.ExitStack() as stack:
        pressed = _open_keys(stack, keys, pedal)
        seen = _open_cameras(stack, settings)
        led = None if hand is None else _open_leader(stack, hand)
        arm = _open_follower(stack, worker, limits)
        person = None if led is None else LeaderOperator(led, pressed, mode == "intervene")
        cropped = None if seen is None else CroppedCameras(seen, views)
        env: gymnasium.Env = SO101Env(
            arm,
            cropped,
            task,
            workspace=box,
            control_hz=rate,
            step_size=step_size,
            reward=reward,
        )
        if person is not None:
            env = InterventionWrapper(env, person)
        steps = HardwareSteps(env, arm, seen)
        stack.pop_all()
    return EpisodeKeys(steps, steps, pressed, person, mode == "demonstrate", wait)


_OPTIONS = frozenset(inspect.signature(make_physical).parameters) - {"unknown"}


def _mode(operator: Any) -> str | None:
    if operator is None:
        return None
    values = mapping("operator", dict(operator))
    refuse_unknown(values, ("mode",), "operator")
    return one_of("operator.mode", values.get("mode", "intervene"), MODES)


def _open_keys(stack: contextlib.ExitStack, keys: KeySource | None, pedal: Any) -> Pressed:
    if pedal is not None and (not isinstance(pedal, str) or not pedal):
        raise TypeError(
            f"pedal must be the path of a terminal device, e.g. /dev/ttyACM2, got {pedal!r}"
        )
    source = keys if keys is not None else Keys()
    stack.callback(source.close)
    if pedal is None:
        return Pressed(source)
    foot = Pedal(pedal)
    stack.callback(foot.close)
    return Pressed(SeveralKeys((source, foot)))


def _open_cameras(
    stack: contextlib.ExitStack, settings: Mapping[str, CameraSettings]
) -> OpenCVCameras | None:
    return stack.enter_context(OpenCVCameras(settings)) if settings else None


def _open_follower(
    stack: contextlib.ExitStack, options: FollowerOptions, limits: SafetyLimits
) -> FeetechArm:
    reached, resort = options.reached, options.last_resort
    bus = stack.enter_context(FeetechBus(reached.port, reached.baudrate, margin=reached.margin))
    supervision = Supervision(
        reached.port,
        reached.calibration.ids,
        baudrate=reached.baudrate,
        hold=resort.hold,
        ramp=resort.ramp,
    )
    arm = FeetechArm(bus, reached.calibration, limits, options.settings, supervision=supervision)
    stack.callback(arm.close)
    arm.connect()
    return arm


def _open_leader(stack: contextlib.ExitStack, options: LeaderOptions) -> LeaderArm:
    reached = options.reached
    bus = stack.enter_context(FeetechBus(reached.port, reached.baudrate, margin=reached.margin))
    # A leader needs no long hold: it stands there only because it mirrors.
    supervision = Supervision(
        reached.port, reached.calibration.ids, baudrate=reached.baudrate, hold=0.5, ramp=2.0
    )
    arm = LeaderArm(bus, reached.calibration, options.settings, supervision=supervision)
    stack.callback(arm.close)
    arm.connect()
    return arm
