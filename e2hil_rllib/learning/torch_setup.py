"""How torch computes in each process of a run."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # numbers of glibc's mallopt(3)
_LARGEST_KEPT = 32 * 2**20  # bytes of one tensor; glibc takes no higher threshold
_MOST_KEPT = 256 * 2**20  # bytes of freed memory


def set_up_torch(num_threads: int) -> None:
    """Set torch's threads, and keep it from preparing memory again and again.

    A seed makes RLlib switch torch to deterministic algorithms, which by default also fill every
    uninitialised tensor: a sixth of an update, for nothing that this code could read. And glibc
    gives freed memory of the size of the K draws back to the system, so that the influence
    estimate waits for fresh pages: a tenth of an update with the selection. It is kept instead.

    Args:
        num_threads: Threads of this process; one is fastest for small networks.
    """
    torch.set_num_threads(num_threads)
    deterministic: Any = torch.utils.deterministic  # a module that torch's types do not describe
    deterministic.fill_uninitialized_memory = False
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries than glibc have none, or one that does nothing
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
