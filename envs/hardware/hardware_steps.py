"""What hardware has to say about each step: when it was measured, and what kept it from working."""

from collections.abc import Mapping
from typing import Any

import gymnasium

from envs.hardware.cameras import OpenCVCameras
from envs.hardware.feetech_arm import FeetechArm


class HardwareSteps(gymnasium.Wrapper):
    """Times each step, and ends an episode whose step was not carried out.

    `info` then also holds
        state_time: when the joints were read, on `time.monotonic` [s];
        frame_times: the same of each camera's frame, by its name;
        skew: from the joints' reading to the frame that is furthest from it [s];
        overruns: late periods of the control loop so far;
        limited: what cut the step's command short, as in `envs.safety.Decision`;
        interrupted: why the step was not carried out or came too late, "" where it was.

    An interrupted step is truncated and returns the observation before it, so that whoever stores
    steps can leave it out: then the episode ends with the last frame before the interruption.

    Args:
        env: the environment of the arm.
        arm: the arm.
        cameras: its cameras, None where there are none.
    """

    def __init__(self, env: gymnasium.Env, arm: FeetechArm, cameras: OpenCVCameras | None) -> None:
        super().__init__(env)
        self.physical_arm = arm
        self._cameras = cameras
        self._observation: Any = None
        self._pauses = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Moves slowly to the start of an episode."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        self._pauses = self.physical_arm.pace.pauses
        return self._observation, info | self._measured()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Moves for one control period."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        info |= self._measured()
        info["interrupted"] = self._interruption()
        if info["interrupted"]:
            return self._observation, 0.0, False, True, info
        self._observation = observation
        return observation, reward, terminated, truncated, info

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
