"""Fitting of the network: balanced batches, and the weights of its best evaluation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from e2hil_rllib.classifier.inputs import Inputs
from e2hil_rllib.classifier.metrics import average_precision
from e2hil_rllib.classifier.network import ClassifierNetwork
from e2hil_rllib.networks.noise import NoiseStream

_LEARNING_RATE = 1e-3
_WEIGHT_DECAY = 1e-4
_SMOOTHING = 0.02  # targets are 0.02 and 0.98, so that not all scores end at 0 and 1
_EVALUATIONS = 10
_PATIENCE = 4  # evaluations without a better one after which fitting ends
_EVALUATED = 1500  # frames of an evaluation at most
_CHUNK = 64


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of the network after some steps.

    Attributes:
        step: Number of steps.
        loss: Mean loss of the steps since the last evaluation.
        average_precision: Average precision on the frames that the weights are chosen on.
    """

    step: int
    loss: float
    average_precision: float


def fit(
    network: ClassifierNetwork,
    train: Inputs,
    choose: Inputs,
    *,
    steps: int,
    batch_size: int,
    noise: NoiseStream,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> list[Evaluation]:
    """Train in place, and leave the weights of the best evaluation in the network.

    Args:
        network: Network to train.
        train: Frames to learn from; each batch is half success, half failure, and half of either
            is near a change of the label: elsewhere most frames are soon too easy.
        choose: Frames to evaluate on.
        steps: Largest number of batches.
        batch_size: Frames in a batch, a multiple of 4.
        noise: Random stream of all draws.
        on_step: Callback with the number of steps so far and in all.

    Returns:
        All evaluations, in order.
    """
    optimizer = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    pools = _pools(train)
    targets = torch.tensor([1 - _SMOOTHING, _SMOOTHING]).repeat_interleave(batch_size // 2)
    interval = max(1, steps // _EVALUATIONS)
    evaluated = balanced(choose.success, _EVALUATED, noise)
    history: list[Evaluation] = []
    best, losses = copy.deepcopy(network.state_dict()), []
    for step in range(1, steps + 1):
        drawn = [_draw(pool, batch_size // 4, noise) for pool in pools]
        logits = network(train.varied(np.concatenate(drawn), noise), noise)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        on_step(step, steps)
        if step % interval and step != steps:
            continue
        scores = probabilities(network, choose, evaluated)
        precision = average_precision(scores, choose.success[evaluated])
        if all(precision > earlier.average_precision for earlier in history):
            best = copy.deepcopy(network.state_dict())
        history.append(Evaluation(step, float(np.mean(losses)), precision))
        losses.clear()
        if len(history) - 1 - _best(history) >= _PATIENCE:
            break
    network.load_state_dict(best)
    return history


def best_evaluation(history: list[Evaluation]) -> Evaluation:
    """Return the evaluation whose weights ``fit`` kept: the first of the highest precision."""
    return history[_best(history)]


@torch.no_grad()
def probabilities(
    network: ClassifierNetwork, inputs: Inputs, indices: np.ndarray | None = None
) -> np.ndarray:
    """Return the probabilities of success of some frames (or of all), float64, shape (N,)."""
    indices = np.arange(len(inputs.success)) if indices is None else indices
    parts = [
        torch.sigmoid(network(inputs.plain(part)).double())
        for part in np.split(indices, range(_CHUNK, len(indices), _CHUNK))
    ]
    result: np.ndarray = torch.cat(parts).numpy()
    return result


def balanced(success: np.ndarray, most: int, noise: NoiseStream) -> np.ndarray:
    """Return sorted indices of some frames, half of them successes if there are enough.

    Args:
        success: True label of each frame, bool, shape (N,).
        most: Largest number of frames to choose.
        noise: Random stream of the choice.
    """
    shows, shows_not = (np.flatnonzero(success == value) for value in (True, False))
    number = min(len(shows), max(most // 2, most - len(shows_not)))
    kinds = ((shows, number), (shows_not, min(len(shows_not), most - number)))
    chosen = [kind[noise.subset(len(kind), size).numpy()] for kind, size in kinds]
    return np.sort(np.concatenate(chosen))


def _best(history: list[Evaluation]) -> int:
    return max(range(len(history)), key=lambda i: history[i].average_precision)


def _pools(inputs: Inputs) -> list[np.ndarray]:
    """Return the indices to draw each quarter of a batch from: success twice, failure twice."""
    pools = []
    for value in (True, False):
        everywhere = np.flatnonzero(inputs.success == value)
        near = np.flatnonzero((inputs.success == value) & inputs.near_change)
        pools += [everywhere, near if len(near) else everywhere]
    return pools


def _draw(indices: np.ndarray, number: int, noise: NoiseStream) -> np.ndarray:
    drawn = noise.integers(len(indices), torch.empty(number, 1), 1)
    chosen: np.ndarray = indices[drawn[:, 0].numpy()]
    return chosen
