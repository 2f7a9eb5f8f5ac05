"""N-step windows and known returns of consecutive steps, for the critics' targets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

UNKNOWN = -np.inf
"""The floor of a transition whose return is not known."""


class Windows(NamedTuple):
    """The n-step windows of T consecutive steps.

    Attributes:
        last: Index of each window's last step, shape (T,).
        rewards: Σ_k γ^k r_{t+k} over the window, float32 (T,).
        discounts: γ^k for a window of k steps, 0 where it ends with a termination, float32 (T,).
    """

    last: np.ndarray
    rewards: np.ndarray
    discounts: np.ndarray


def n_step_windows(
    rewards: np.ndarray, terminated: np.ndarray, human: np.ndarray, *, gamma: float, n_step: int
) -> Windows:
    """Windows of at most n steps that end where control changes hands.

    A window that ran on into a takeover would credit the policy's step with the person's rescue.

    Args:
        rewards: Of consecutive steps of one episode, shape (T,).
        terminated: Whether the episode really ended with the step, shape (T,).
        human: Whether a person led the step, shape (T,).
        gamma: Discount per step.
        n_step: n, the longest window.
    """
    steps = len(rewards)
    changes = np.append(human[1:] != human[:-1], True)
    # The first change of hands at or after each step.
    ends = np.where(changes, np.arange(steps), steps)
    ends = np.minimum.accumulate(ends[::-1])[::-1]
    last = np.minimum(np.arange(steps) + n_step - 1, ends)
    length = last - np.arange(steps) + 1
    summed = rewards.astype(np.float64)
    for k in range(1, n_step):
        inside = np.flatnonzero(length > k)
        summed[inside] += gamma**k * rewards[inside + k]
    alive = 1.0 - terminated[last].astype(np.float32)
    discounts = np.power(gamma, length).astype(np.float32) * alive
    return Windows(last, summed.astype(np.float32), discounts)


def known_returns(
    rewards: np.ndarray, terminated: np.ndarray, human: np.ndarray, *, gamma: float
) -> np.ndarray:
    """Discounted return of each step from which a person went on alone, to success.

    For a reward of 1 at success it is γ^(T − t) (T the last step). What somebody reached from a
    state and an action is a floor of what they are worth.

    Args:
        rewards: Of consecutive steps of one episode, shape (T,).
        terminated: Whether the episode really ended with the step, shape (T,).
        human: Whether a person led the step, shape (T,).
        gamma: Discount per step.

    Returns:
        Shape (T,), float32; `UNKNOWN` for the other steps, and where the episode did not end with
        a reward.
    """
    returns = np.full(len(rewards), UNKNOWN, np.float32)
    if not len(rewards) or not terminated[-1] or rewards[-1] <= 0:
        return returns
    later = 0.0
    for step in range(len(rewards) - 1, -1, -1):
        if not human[step]:
            break
        later = float(rewards[step]) + gamma * later
        returns[step] = later
    return returns
