"""Parameters of several layers laid out in one vector, so that one operation treats them all."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class FlatParameters:
    """Puts parameters, and their gradients, behind each other into one vector.

    The parameters become views of :attr:`vector` and their gradients views of its gradient. An
    optimizer step, the norm of a gradient, a target average and an all-reduce are then one call
    each, instead of one per layer. Build it after the module was moved to its device.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]):
        parameters = list(parameters)
        self.vector = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
        self.vector.grad = torch.zeros_like(self.vector)
        start = 0
        for parameter in parameters:
            part = slice(start, start + parameter.numel())
            parameter.data = self.vector.data[part].view_as(parameter)
            parameter.grad = self.vector.grad[part].view_as(parameter)
            start = part.stop

    @property
    def gradient(self) -> Tensor:
        """The gradient of all parameters, shape (n,)."""
        assert self.vector.grad is not None
        return self.vector.grad

    @torch.no_grad()
    def clip_gradient(self, max_norm: float | None) -> float:
        """Scale the gradient down to a norm; returns the norm that it had."""
        norm = float(torch.linalg.vector_norm(self.gradient))
        if max_norm is not None and norm > max_norm:
            self.gradient.mul_(max_norm / norm)
        return norm

    @torch.no_grad()
    def move_towards(self, other: FlatParameters, fraction: float) -> None:
        """Exponential average: x ← x + fraction·(other − x)."""
        self.vector.lerp_(other.vector, fraction)
