"""Measures what one update of the actor does to the policy's entropy, where samples were judged.

What the influence predicts (Eq. 9) can so be set against what happened. Equation numbers are those
of the E2HiL paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from e2hil_rllib.learning.rl_module import E2HiLTorchRLModule


@dataclass(frozen=True)
class EntropyProbe:
    """The policy's entropy at some states before an update, and what it takes to ask again.

    The same noise is drawn upon before and after, so that the difference is the actor's change and
    hardly the draw. The states are latents: an encoder that moved meanwhile changes nothing here.

    Attributes:
        latent: Of the minibatch's states, shape (B, L).
        noise: Standard normal, shape (K, B, d).
        before: Entropy at these states, the mean of −log π over draws and states [nats].
    """

    latent: Tensor
    noise: Tensor
    before: float

    @torch.no_grad()
    def change(self, module: E2HiLTorchRLModule) -> float:
        """How much the entropy has changed since [nats].

        Args:
            module: With the actor as it is now.
        """
        _, log_prob = module.policy(self.latent).sample(self.noise)
        return -log_prob.mean().item() - self.before
