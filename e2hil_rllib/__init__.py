"""E2HiL: entropy-guided sample selection for human-in-the-loop reinforcement learning."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2hil_rllib.algorithm import E2HiL
    from e2hil_rllib.config import E2HiLConfig

__all__ = ["E2HiL", "E2HiLConfig"]


def __getattr__(name: str) -> Any:
    """Import the algorithm when it is first asked for; torch and Ray take seconds.

    The import also registers the trainable "E2HiL" with Ray Tune.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("e2hil_rllib.algorithm"), name)
