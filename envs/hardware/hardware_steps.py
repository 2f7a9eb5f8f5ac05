"""Hardware steps: measurement times and interruptions of each step."""

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

_RECOVERABLE = (BusError, CameraError, NotArrivedError, TorqueOffError)


class HardwareSteps(gymnasium.Wrapper):
    """Wrapper that times each step and ends an episode whose step was not carried out.

    ``info`` then also holds
        state_time: time of the joints' reading, on ``time.monotonic`` [s];
        frame_times: time of each camera's frame, by its name;
        skew: largest time between the joints' reading and a frame [s];
        overruns: number of late periods of the control loop so far;
        limited: limits that cut the command short, as in ``envs.safety.Decision``;
        interrupted: reason why the step was not carried out or came too late, "" if none.

    An interrupted step is truncated and returns the observation before it, so that callers that
    store steps can drop it: then the episode ends with the last frame before the interruption. A
    step in which the arm or a camera failed ends the same way; resets raise until that is fixed.

    Args:
        env: Environment of the arm; the innermost is an ``SO101Env``.
        arm: Physical arm.
        cameras: Its cameras; None if there are none.
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
            HardwareError: If the arm does not arrive, or it or a camera fails.
        """
        with _recoverable():
            self._observation, info = self.env.reset(seed=seed, options=options)
        self._pauses = self.physical_arm.pace.pauses
        return self._observation, info | self._measured()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Move for one control period."""
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except _RECOVERABLE as error:
            return self._cut_short(self._nothing_done(), str(error))
        info |= self._measured()
        interruption = self._interruption()
        if interruption:
            return self._cut_short(info, interruption)
        self._observation = observation
        return observation, reward, terminated, truncated, info

    def check(self) -> NDArray[np.float64]:
        """Read arm and cameras, as is due while waiting, and return the joints, shape (6,) [rad].

        Raises:
            HardwareError: If one of them fails, or the arm stands still until ``acknowledge``.
        """
        with _recoverable():
            positions = self.physical_arm.read().positions
            if self._cameras is not None:
                self._cameras.read()
        if self.physical_arm.fault:
            raise HardwareError(self.physical_arm.fault)
        return positions

    def look(self) -> tuple[Any, dict[str, Any]]:
        """Return the first observation of an episode after a wait, and its measurement times.

        Raises:
            HardwareError: If the arm or a camera fails.
        """
        with _recoverable():
            self._observation = self._arm_env.look()
        return self._observation, self._measured()

    def acknowledge(self) -> None:
        """Let an arm resume that stood still because of a servo's state.

        Raises:
            HardwareError: If that fails.
        """
        with _recoverable():
            self.physical_arm.acknowledge()

    def _cut_short(
        self, info: dict[str, Any], reason: str
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._observation, 0.0, False, True, info | {"interrupted": reason}

    def _nothing_done(self) -> dict[str, Any]:
        """Return the ``info`` of a step that was not carried out."""
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
def _recoverable() -> Iterator[None]:
    """Raise errors that a person can fix as ``HardwareError``."""
    try:
        yield
    except _RECOVERABLE as error:
        raise HardwareError(str(error)) from error
