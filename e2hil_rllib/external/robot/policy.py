"""The policy in the robot's own process."""

from __future__ import annotations

from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns

from e2hil_rllib.data.action_scale import ActionScale
from e2hil_rllib.external.protocol.codec import MessageError
from e2hil_rllib.external.protocol.spaces import differences
from e2hil_rllib.external.protocol.weights import Weights
from e2hil_rllib.external.robot.delivery import RefusedError
from e2hil_rllib.learning.torch_setup import set_up_torch
from e2hil_rllib.networks.frozen_trunk import features_for
from e2hil_rllib.networks.observation_encoder import FLAT_KEY, camera_names

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig


class LocalPolicy:
    """Acts with the newest weights that it was given; drawn at random before the first.

    Args:
        config: Networks, vision, seed and threads, as those of the learner.
        observation_space: Of the robot's environment.
        action_space: Of the robot's environment.
        seed: Of the exploration.

    Raises:
        ValueError: The spaces cannot be learned.
        TrunkWeightsError: The weights of the frozen trunk cannot be had.
    """

    def __init__(
        self,
        config: AlgorithmConfig,
        observation_space: gym.Space[Any],
        action_space: gym.spaces.Box,
        seed: int,
    ) -> None:
        set_up_torch(config.torch_threads)
        self._spaces = {"observations": observation_space, "actions": action_space}
        self._flat = not isinstance(observation_space, gym.spaces.Dict)
        self._scale = ActionScale(action_space)
        features = features_for(config.vision_settings, camera_names(observation_space))
        self._trunk = "" if features is None else features.trunk.fingerprint
        spaces = {DEFAULT_MODULE_ID: (observation_space, action_space)}
        multi = config.get_multi_rl_module_spec(spaces=spaces, inference_only=True)
        self._module: Any = multi.build()[DEFAULT_MODULE_ID]
        self._module.seed_exploration(seed)
        #: Version and updates of the weights that it acts with, 0 before the first.
        self.version = self.updates = 0

    def check(self, welcome: dict[str, Any]) -> None:
        """Compares what a learner says of its policy with the environment here.

        Raises:
            RefusedError: They do not fit together; the message names each difference.
            MessageError: The learner describes no policy.
        """
        told = welcome.get("spaces")
        found: list[str] = []
        for name, space in self._spaces.items():
            described = told.get(name) if isinstance(told, dict) else None
            found += differences(space, described, name)
        trunk = welcome.get("trunk")
        if not isinstance(trunk, str):
            raise MessageError(f"the frozen trunk is {short(trunk)}, expected a fingerprint")
        if trunk != self._trunk:
            found.append(
                f"vision: the frozen trunk's weights are {self._trunk or 'none'} here and "
                f"{trunk or 'none'} at the learner"
            )
        if found:
            raise RefusedError(
                "The learner's policy is made for another environment: "
                + "; ".join(found)
                + ". Give learner and robot the same settings file."
            )

    def load(self, weights: Weights) -> None:
        """Acts with these weights from now on.

        Raises:
            RefusedError: They are those of another network.
        """
        try:
            self._module.set_state(weights.tensors)
        except (ValueError, RuntimeError, KeyError) as error:
            raise RefusedError(f"The learner's policy does not fit: {error}") from error
        self.version, self.updates = weights.version, weights.updates

    def act(self, observation: Any, explore: bool = True) -> np.ndarray:
        """Chooses an action.

        Args:
            observation: As the environment returned it.
            explore: Draw from the policy; without it, take its most likely action.

        Returns:
            In the units of the environment, shape (d,), float32.
        """
        named = {FLAT_KEY: observation} if self._flat else observation
        batch = {key: torch.from_numpy(np.asarray(x)[None]) for key, x in named.items()}
        forward = self._module.forward_exploration if explore else self._module.forward_inference
        chosen = forward({Columns.OBS: batch[FLAT_KEY] if self._flat else batch})
        unit = chosen[Columns.ACTIONS][0].cpu().numpy()
        action = self._scale.to_environment(unit)
        clipped: np.ndarray = np.clip(action, self._scale.low, self._scale.high)
        return clipped
