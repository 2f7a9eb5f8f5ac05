"""The RLModule of E2HiL: encoder, actor, critic ensemble, their targets and the temperature."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from e2hil_rllib.networks.actor_critic import Actor, CriticEnsemble, Gaussian
from e2hil_rllib.networks.frozen_trunk import features_for
from e2hil_rllib.networks.observation_encoder import FLAT_KEY, ObservationEncoder, camera_names
from e2hil_rllib.networks.vision_settings import VisionSettings


class E2HiLTorchRLModule(TorchRLModule, InferenceOnlyAPI):
    """Encoder and actor for acting; critics, targets and log-temperature beside them for learning.

    The critic loss alone trains the encoder: the actor reads detached latents. The target network
    is an average of the whole critic, encoder included (Eq. 1). With ``averaged_policy`` it has an
    actor, too, and that one acts: the policy of one update goes up and down, its average does less.

    A frozen trunk lies outside the module's parameters: acting takes frames and has their
    features computed by the process's own trunk, learning takes the features that replay holds.

    ``model_config`` holds ``encoder_size``, ``hidden_sizes``, ``num_critics``, ``vision``,
    ``initial_temperature``, ``exploration_noise``, ``averaged_policy``, ``fine_scales``
    and ``seed``, all set by
    :class:`~e2hil_rllib.config.E2HiLConfig`.
    """

    def setup(self) -> None:
        """Build the networks. One seed gives the same initial parameters in every process.

        Raises:
            ValueError: On an observation or action space that the module cannot take.
            TrunkWeightsError: The weights of the frozen trunk cannot be had.
        """
        config = self.model_config
        if not isinstance(self.action_space, gym.spaces.Box) or len(self.action_space.shape) != 1:
            raise ValueError(f"action space {self.action_space} must be a Box of shape (d,)")
        if not np.all(np.isfinite(self.action_space.low) & np.isfinite(self.action_space.high)):
            raise ValueError(f"action space {self.action_space} needs finite bounds")
        action_size = self.action_space.shape[0]
        hidden_sizes = tuple(config["hidden_sizes"])
        vision: VisionSettings = config["vision"]
        self._trunk_features = features_for(vision, camera_names(self.observation_space))
        with torch.random.fork_rng(devices=[], enabled=config["seed"] is not None):
            if config["seed"] is not None:
                torch.manual_seed(config["seed"])
            self.encoder = ObservationEncoder(
                self.observation_space, config["encoder_size"], vision, config["fine_scales"]
            )
            latent_size = self.encoder.latent_size
            self.actor = Actor(latent_size, action_size, hidden_sizes)
            self.critics = CriticEnsemble(
                config["num_critics"], latent_size, action_size, hidden_sizes
            )
        self.target_encoder = _frozen_copy(self.encoder)
        self.target_critics = _frozen_copy(self.critics)
        self.target_actor = _frozen_copy(self.actor) if config["averaged_policy"] else None
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config["initial_temperature"])))
        self._exploration_noise = float(config["exploration_noise"])
        # The EnvRunner has seeded torch's own generator with config.seed + worker index by now.
        self._noise = torch.Generator().manual_seed(torch.initial_seed() % 2**63)

    def seed_exploration(self, seed: int) -> None:
        """Restart the stream that exploration draws from."""
        self._noise.manual_seed(seed)

    def get_non_inference_attributes(self) -> list[str]:
        """Parts that an acting copy of the module does not need."""
        policy = (
            ["encoder", "actor"] if self.model_config["averaged_policy"] else ["target_encoder"]
        )
        return ["critics", "target_critics", "log_temperature", *policy]

    @torch.no_grad()
    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Deterministic action tanh(mean)."""
        return {Columns.ACTIONS: self._acting_policy(batch).mode()}

    @torch.no_grad()
    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Action drawn from the policy, its noise scaled by ``exploration_noise``."""
        policy = self._acting_policy(batch)
        noise = torch.randn(policy.mean.shape, generator=self._noise).to(policy.mean.device)
        return {Columns.ACTIONS: policy.sample(self._exploration_noise * noise)[0]}

    def _acting_policy(self, batch: dict[str, Any]) -> Gaussian:
        """The policy at observations as the environment returned them."""
        observation = batch[Columns.OBS]
        if self._trunk_features is not None:
            named = {FLAT_KEY: observation} if isinstance(observation, Tensor) else observation
            observation = self._trunk_features.of_tensors(named)
        if self.target_actor is not None:
            return self.target_actor(self.target_encoder(observation))
        return self.policy(self.encoder(observation))

    def policy(self, latent: Tensor) -> Gaussian:
        """The policy at latents (B, L); no gradient reaches the encoder."""
        return self.actor(latent.detach())

    @property
    def temperature(self) -> Tensor:
        """α, scalar, without gradient."""
        return self.log_temperature.detach().exp()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Load parameters, refusing those of another architecture or observation space.

        Raises:
            ValueError: When a parameter is missing or has another shape, naming it.
        """
        own = self.state_dict()
        state = dict(state)
        for name in own:  # an average of policies begins with the policy that there is
            if name.startswith("target_actor."):
                state.setdefault(name, state.get(name.removeprefix("target_")))
        missing = sorted(set(own) - set(state))
        if missing:
            raise ValueError(
                f"the saved module lacks {missing[0]!r} (and {len(missing) - 1} more): it was "
                "trained with another observation space or network. Load it with the "
                "configuration that it was trained with"
            )
        for name, value in own.items():
            if tuple(np.shape(state[name])) != tuple(value.shape):
                raise ValueError(
                    f"the saved module's {name!r} has shape {tuple(np.shape(state[name]))}, this "
                    f"one's {tuple(value.shape)}: it was trained with another observation or "
                    "action space, or network size. Load it with the configuration that it was "
                    "trained with"
                )
        super().set_state(state)


def _frozen_copy(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).requires_grad_(False)
