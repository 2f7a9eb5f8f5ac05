"""Presets: named settings of a whole method, so that a baseline stays the baseline."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from e2hil_rllib.settings.sections import ALGORITHM_SECTIONS

DEFAULT = "default"
"""The preset that a configuration begins with."""

PAPER = "e2hil_paper"
"""The preset that was all there was before there were presets."""


def _defaults() -> dict[str, Any]:
    """Default of each attribute of ``E2HiLConfig`` that a section describes."""
    return {
        section.attribute(name): field.default
        for section in ALGORITHM_SECTIONS.values()
        for name, field in section.model_fields.items()
    }


_E2HIL_PAPER = {
    "selection_enabled": True,
    "imitation_weight": 0.0,
    "imitated_rows": "all",
    "imitation_dropout": 0.0,
    "q_filter_starts": None,
    "warm_start_updates": 0,
    "reinforcement": True,
    "n_step": 1,
    "monte_carlo_floor": False,
    "lowest_return": None,
    "highest_return": None,
    "actor_lr": 3e-4,
    "initial_alpha": 0.01,
    "alpha_lr": 3e-4,
    "backup_entropy": True,
    "exploration_noise": 1.0,
    "averaged_policy": False,
    "fine_scales": (),
}

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # Best for the person in the comparisons so far: the defaults of the sections.
        DEFAULT: {name: _defaults()[name] for name in _E2HIL_PAPER},
        # HIL-SERL as published (arXiv:2410.21845 and its released source).
        "hil_serl": _E2HIL_PAPER | {"selection_enabled": False},
        # E2HiL as published.
        PAPER: _E2HIL_PAPER,
    }
)
"""Settings of ``E2HiLConfig`` by preset; all presets name the same ones."""


#: The preset "default" as runs have it whose config.yaml does not spell its numbers out.
EARLIER_DEFAULT: Mapping[str, Any] = MappingProxyType(
    _E2HIL_PAPER
    | {
        "selection_enabled": False,
        "imitation_weight": 1.0,
        "imitation_dropout": 0.1,
        "highest_return": "auto",
        "initial_alpha": 0.001,
        "alpha_lr": 3e-3,
        "backup_entropy": False,
        "exploration_noise": 0.3,
    }
)


def preset_settings(name: str) -> dict[str, Any]:
    """The settings of a preset.

    Raises:
        ValueError: There is no such preset; the message names the nearest.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"preset={name!r}: must be one of {', '.join(PRESETS)}{hint}")
    return dict(PRESETS[name])
