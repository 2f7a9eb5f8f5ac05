"""How torch computes in each process of a run."""

from __future__ import annotations

from typing import Any

import torch


def set_up_torch(num_threads: int) -> None:
    """Set torch's threads, and keep it from filling memory that is about to be written.

    A seed makes RLlib switch torch to deterministic algorithms, which by default also fill every
    uninitialised tensor: a sixth of an update, for nothing that this code could read.

    Args:
        num_threads: Threads of this process; one is fastest for small networks.
    """
    torch.set_num_threads(num_threads)
    deterministic: Any = torch.utils.deterministic  # a module that torch types do not describe
    deterministic.fill_uninitialized_memory = False
