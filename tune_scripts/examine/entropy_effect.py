"""True effect of a gradient step on one sample on the policy's entropy, to first order.

The influence c(s) predicts it from K actions for a tabular policy (Eq. 9, 10 of the E2HiL paper);
here it is the exact derivative of the network's entropy along the sample's own descent direction,
to compare with the prediction sample by sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from e2hil_rllib.learning.rl_module import E2HiLTorchRLModule
from e2hil_rllib.networks.actor_critic import frozen_parameters


@dataclass(frozen=True)
class EntropyEffects:
    """Change of entropy for a step of plain gradient descent of size 1 on each of n samples.

    Attributes:
        own: Change at the sample's own state [nats], shape (n,).
        whole: Change of the mean over all states of the batch [nats], shape (n,).
    """

    own: Tensor
    whole: Tensor


def entropy_effects(
    module: E2HiLTorchRLModule,
    latent: Tensor,
    chosen: Sequence[int],
    draws: int,
    generator: torch.Generator,
) -> EntropyEffects:
    """Compute the effects of some samples of a batch.

    A sample's loss is that of the actor, its mean over many reparametrised actions; entropies are
    means of −log π over as many. With L_i and H the loss of sample i and an entropy, a step of size
    1 along −∇L_i changes H by −⟨∇H, ∇L_i⟩.

    Args:
        module: Module, whose parameters are not changed.
        latent: Latents of the batch's states, shape (B, L).
        chosen: Rows of the samples.
        draws: Number of actions for each state.
        generator: Random generator of the actions.
    """
    parameters = list(module.actor.parameters())
    size = module.actor.action_size
    noise = torch.randn((draws, len(latent), size), generator=generator)

    def gradient(value: Tensor, again: bool) -> Tensor:
        parts = torch.autograd.grad(value, parameters, retain_graph=again)
        return torch.cat([part.reshape(-1) for part in parts])

    own, whole = [], []
    with frozen_parameters(module.critics):
        _, log_prob = module.policy(latent).sample(noise)
        of_all = gradient(-log_prob.mean(), False)
        for row in chosen:
            one = latent[row : row + 1]
            actions, log_prob = module.policy(one).sample(noise[:, row : row + 1])
            part = module.critics.observation_part(one)
            q = module.critics.from_observation_part(part, actions).amin(dim=0)
            down = -gradient((module.temperature * log_prob - q).mean(), True)
            own.append(gradient(-log_prob.mean(), False) @ down)
            whole.append(of_all @ down)
    return EntropyEffects(torch.stack(own), torch.stack(whole))
