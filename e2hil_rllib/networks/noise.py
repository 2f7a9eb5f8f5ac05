"""Random draws of the learners: one stream for all of them, of which each takes its share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class NoiseStream:
    """A seeded stream that several learners hold alike.

    Each draws for the batches of all learners in one order and takes its own rows, so that two
    learners see what one learner sees on the same total batch. Draws are made on the CPU: a seed
    gives the same numbers on every device.

    Args:
        seed: Of the stream, the same for all learners.
        index: Which learner this is.
        num_learners: How many there are.
    """

    def __init__(self, seed: int, index: int = 0, num_learners: int = 1):
        self.generator = torch.Generator().manual_seed(seed)
        self._index, self._num_learners = index, num_learners

    def normal_like(self, reference: Tensor, draws: int | None = None) -> Tensor:
        """Standard normal numbers (B, d) for a reference of that shape, or (K, B, d)."""
        batch, size = reference.shape
        whole = batch * self._num_learners
        shape = (whole, size) if draws is None else (draws, whole, size)
        noise = torch.randn(shape, generator=self.generator)
        return self._own(noise, batch).to(reference.device)

    def keep_mask(self, reference: Tensor, probability: float) -> Tensor:
        """For a reference (B, n), true with a probability, independently for each entry."""
        batch, size = reference.shape
        draws = torch.rand((batch * self._num_learners, size), generator=self.generator)
        return self._own(draws, batch).to(reference.device) < probability

    def integers(self, high: int, reference: Tensor, number: int) -> Tensor:
        """Integers (B, number) from 0 to high − 1 for a reference of B rows."""
        batch = len(reference)
        shape = (batch * self._num_learners, number)
        draws = torch.randint(high, shape, generator=self.generator)
        return self._own(draws, batch).to(reference.device)

    def _own(self, draws: Tensor, batch: int) -> Tensor:
        """This learner's rows of draws (..., B of all learners, n)."""
        return draws[..., self._index * batch : (self._index + 1) * batch, :]

    def subset(self, size: int, number: int) -> Tensor:
        """Indices of a random subset of ``number`` out of ``size``, on the CPU."""
        return torch.randperm(size, generator=self.generator)[:number]

    def state(self) -> np.ndarray:
        """Where the stream is."""
        return self.generator.get_state().numpy()

    def set_state(self, state: np.ndarray) -> None:
        """Go on from there."""
        self.generator.set_state(torch.tensor(state))
