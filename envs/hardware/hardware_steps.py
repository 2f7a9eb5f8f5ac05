"""What hardware has to say about each step: when it was measured, and what kept it from working."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checked import ACTION_SIZE
from envs.frames import CameraError
from envs.hardware.cameras.physical_cameras import OpenCVCameras
from envs.hardware.errors import BusError, TorqueOffError
from envs.hardware.feetech_arm import FeetechArm
from envs.hardware.letting_go.letting_go import NotArrivedError
from envs.interfaces import HardwareError
from envs.so101 import SO101Env

_MENDABLE = (BusError, CameraError, NotArrivedError, TorqueOffError)


class HardwareSteps(gymnasium.Wrapper):
    """Times each step, and ends an episode whose step was not carried out.

    ``info`` then also holds
        state_time: when the joints were read, on ``time.monotonic`` [s];
        frame_times: the same of each camera's frame, by its name;
        skew: from the joints' reading to the frame that is furthest from it [s];
        overruns: late periods of the control loop so far;
        limited: what cut the step's command short, as in ``envs.safety.Decision``;
        interrupted: why the step was not carried out or came too late, "" where it was.

    An interrupted step is truncated and returns the observation before it, so that whoever stores
    steps can leave it out: then the episode ends with the last frame before the interruption. So
    ends also a step in which the arm or a camera failed; the next reset raises until it is mended.

    Args:
        env: The environment of the arm; the innermost is an ``SO101Env``.
        arm: The arm.
        cameras: Its cameras, None where there are none.
    """

    def __init__(self, env: gymnasium.Env, arm: FeetechArm, cameras: OpenCVCameras | None) -> None:
        super().__init__(env)
        assert isinstance(env.unwrapped, SO101Env)
        self.physical_arm = arm
        self._arm_env, self._cameras = env.unwrapped, cameras
        self._observation: Any = None
        self._pauses = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Move slowly to the start of an episode.

        Raises:
            HardwareError: If the arm does not get there, or it or a camera fails.
        """
        with _mendable():
            self._observation, info = self.env.reset(seed=seed, options=options)
        self._pauses = self.physical_arm.pace.pauses
        return self._observation, info | self._measured()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Move for one control period."""
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except _MENDABLE as error:
            return self._cut_short(self._nothing_done(), str(error))
        info |= self._measured()
        interruption = self._interruption()
        if interruption:
            return self._cut_short(info, interruption)
        self._observation = observation
        return observation, reward, terminated, truncated, info

    def check(self) -> NDArray[np.float64]:
        """Read arm and cameras, as whoever waits has to, and return the joints, (6,) [rad].

        Raises:
            HardwareError: If one of them fails, or the arm stands still until ``acknowledge``.
        """
        with _mendable():
            positions = self.physical_arm.read().positions
            if self._cameras is not None:
                self._cameras.read()
        if self.physical_arm.fault:
            raise HardwareError(self.physical_arm.fault)
        return positions

    def look(self) -> tuple[Any, dict[str, Any]]:
        """Return what an episode begins with after a wait: observation, and when it was measured.

        Raises:
            HardwareError: If the arm or a camera fails.
        """
        with _mendable():
            self._observation = self._arm_env.look()
        return self._observation, self._measured()

    def acknowledge(self) -> None:
        """Let an arm go on that stood still because of a servo's state.

        Raises:
            HardwareError: If it fails.
        """
        with _mendable():
            self.physical_arm.acknowledge()

    def _cut_short(
        self, info: dict[str, Any], reason: str
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._observation, 0.0, False, True, info | {"interrupted": reason}

    def _nothing_done(self) -> dict[str, Any]:
        """What ``info`` says of a step that nobody got done."""
        return {
            "is_intervention": False,
            "teleop_action": np.zeros(ACTION_SIZE, np.float32),
            "succeed": False,
            **self._measured(),
        }

    def _measured(self) -> dict[str, Any]:
        reading = self.physical_arm.link.newest
        taken: Mapping[str, float] = {} if self._cameras is None else self._cameras.timestamps
        read = 0.0 if reading is None else reading.time
        return {
            "state_time": read,
            "frame_times": dict(taken),
            "skew": max((abs(time - read) for time in taken.values()), default=0.0),
            "overruns": self.physical_arm.pace.overruns,
            "limited": self.physical_arm.limited,
            "interrupted": "",
        }

    def _interruption(self) -> str:
        pace = self.physical_arm.pace
        paused, self._pauses = pace.pauses > self._pauses, pace.pauses
        if paused:
            return "nobody gave commands for a while, and the arm stood still"
        return self.physical_arm.held


@contextlib.contextmanager
def _mendable() -> Iterator[None]:
    """Say of errors that a person can mend what they are."""
    try:
        yield
    except _MENDABLE as error:
        raise HardwareError(str(error)) from error
