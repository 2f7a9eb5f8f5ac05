"""Ranges of the settings that the algorithm itself reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from e2hil_rllib.config import E2HiLConfig

_COUNTS = (
    "utd_ratio", "num_critics", "encoder_size", "online_capacity", "demonstration_capacity",
    "learning_starts", "steps_per_iteration", "torch_threads", "train_batch_size_per_learner",
    "n_step",
)  # fmt: skip


def check_ranges(config: E2HiLConfig) -> None:
    """Refuse settings that are out of range, or that exclude each other.

    Raises:
        ValueError: Naming the setting, what it is, and what to set instead.
    """
    mode = gymnasium.VectorizeMode(config.gym_env_vectorize_mode)
    if config.judge is not None and mode is not gymnasium.VectorizeMode.SYNC:
        raise ValueError(
            f"gym_env_vectorize_mode={mode.value!r}: a success classifier needs "
            "'sync', where it shares the process of the environments"
        )
    for name in _COUNTS:
        value = getattr(config, name)
        _check(name, value, isinstance(value, int) and value >= 1, "a whole number of at least 1")
    for name in ("actor_lr", "critic_lr", "alpha_lr", "initial_alpha"):
        value = getattr(config, name)  # a learning rate may also be one of RLlib's schedules
        valid = not isinstance(value, int | float) or 0 < value < math.inf
        _check(name, value, valid, "positive and finite")
    fraction = config.demonstration_fraction
    _check("demonstration_fraction", fraction, 0 <= fraction <= 1, "within 0..1")
    _check("gamma", config.gamma, 0 <= config.gamma <= 1, "within 0..1")
    _check("tau", config.tau, 0 < config.tau <= 1, "within 0..1, above 0")
    _check_bounds(config)
    _check_imitation(config)
    noise = config.exploration_noise
    _check("exploration_noise", noise, 0 <= noise < math.inf, "0 or more, and finite")
    scales = config.fine_scales
    valid = all(0 < scale < math.inf for scale in scales)
    _check("fine_scales", scales, valid, "positive and finite numbers, or empty")
    target = config.target_entropy
    valid = target == "auto" or math.isfinite(target)
    _check("target_entropy", target, valid, '"auto" or a finite number')
    clip = config.grad_clip
    _check("grad_clip", clip, clip is None or clip > 0, "positive, or None")
    sizes = config.hidden_sizes
    valid = len(sizes) > 0 and all(isinstance(size, int) and size >= 1 for size in sizes)
    _check("hidden_sizes", sizes, valid, "at least one layer, each of at least 1")
    subset, critics = config.num_subsampled_critics, config.num_critics
    valid = subset is None or 1 <= subset <= critics
    expected = f"None, or within 1..num_critics ({critics})"
    _check("num_subsampled_critics", subset, valid, expected)
    if config.connector is not None and config.episode_log is None:
        raise ValueError(
            "external(...) needs human_in_the_loop(episode_log=FOLDER): what robots have sent is "
            "deleted from the inbox once it is in the log"
        )
    if config.demonstration_fraction > 0 and not (config.demonstrations or config.interventions):
        raise ValueError(
            f"demonstration_fraction={config.demonstration_fraction}, but there are neither "
            "demonstrations nor interventions to fill the demonstration buffer. Set "
            "human_in_the_loop(demonstrations=FOLDER) or interventions=True, or "
            "demonstration_fraction=0 to learn without a human"
        )


def _check_bounds(config: E2HiLConfig) -> None:
    lowest, highest = config.lowest_return, config.highest_return
    for name, bound in (("lowest_return", lowest), ("highest_return", highest)):
        valid = bound in (None, "auto") or (not isinstance(bound, str) and math.isfinite(bound))
        _check(name, bound, valid, 'finite, "auto" or None')
    if lowest in (None, "auto") or highest in (None, "auto"):
        return
    if float(lowest) >= float(highest):
        raise ValueError(
            f"lowest_return={lowest!r} must be below highest_return={highest!r}: no return would "
            "lie between them"
        )


def _check_imitation(config: E2HiLConfig) -> None:
    weight, starts = config.imitation_weight, config.q_filter_starts
    _check("imitation weight", weight, 0 <= weight < math.inf, "0 or more, and finite")
    rows = config.imitated_rows
    _check("imitation rows", rows, rows in ("all", "selected"), '"all" or "selected"')
    valid = starts is None or (isinstance(starts, int) and starts >= 0)
    _check("q_filter_starts", starts, valid, "a whole number of at least 0, or None")
    dropout = config.imitation_dropout
    _check("imitation dropout", dropout, 0 <= dropout < 1, "within 0..1, below 1")
    updates = config.warm_start_updates
    valid = isinstance(updates, int) and updates >= 0
    _check("warm_start_updates", updates, valid, "a whole number of at least 0")
    if rows == "selected" and not config.selection_enabled:
        raise ValueError(
            'imitation rows="selected" needs entropy_selection(enabled=True), which selects them. '
            'Enable it, or set imitation(rows="all")'
        )
    if not config.reinforcement and not weight:
        raise ValueError(
            "reinforcement=False leaves the actor imitation alone, and imitation weight=0 not even "
            "that. Set imitation(weight=1)"
        )


def _check(name: str, value: Any, valid: bool, expected: str) -> None:
    if not valid:
        raise ValueError(f"{name}={value!r}: must be {expected}")
